"""What was committed is published, sooner or later, and sealed until then."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from shared.contracts.commands import ReportRevenueRequested, UserUpdated
from shared.contracts.webhooks import WebhookReceived
from shared.errors import PermanentError, Unavailable
from shared.messaging.broker import refused_routes
from shared.messaging.handling.routes import WEBHOOKS, Route, Routes
from shared.messaging.handling.settlement import Done
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.storage.recoveries import Recoveries
from tests.shared.messaging.conftest import RECORD, Bench, Listener, Noted, named, quicker, until

REPORT = ReportRevenueRequested(
    start_date="2026-01-01",
    end_date="2026-01-31",
    basis="cash",
)


async def all_published(bench: Bench) -> bool:
    return not await bench.parts.pool.fetchval(
        "SELECT count(*) FROM test.outbox WHERE published_at IS NULL"
    )


async def test_events_carry_what_consumers_need(bench: Bench) -> None:
    await bench.start()
    events = await bench.listen()

    for name in ("Ada", "Grace"):
        await bench.send(named(name), headers={"traceparent": "00-1-2-01"})
    first, second = await events.next(), await events.next()

    bodies = [orjson.loads(event.body) for event in (first, second)]
    assert [body["version"] for body in bodies] == [1, 2]
    assert [body["subject"] for body in bodies] == ["user:u1", "user:u1"]
    assert bodies[0]["org"] == "default"
    assert bodies[0]["occurred_at"]
    assert bodies[0]["event_id"] == first.message_id
    assert first.headers["traceparent"] == "00-1-2-01"
    assert first.content_type == "application/json"


@pytest.mark.parametrize(
    "lost",
    ["DELETE FROM test.versions", "UPDATE test.versions SET version = 1"],
    ids=["a new subject", "a known subject"],
)
async def test_versions_begin_anew_above_all_that_a_restored_database_gave_out(
    bench: Bench, lost: str
) -> None:
    await bench.start()
    events = await bench.listen()
    await bench.send(named("before"))
    before = (await events.next_body())["version"]
    await bench.parts.pool.execute(lost)
    recoveries = Recoveries(bench.parts.pool)
    for since in ("2 hours", "1 hour"):  # restored twice
        at = await bench.parts.pool.fetchval("SELECT now() - $1::text::interval", since)
        begun = await recoveries.begin(at, search_s=3600, by="ada")

    for name in ("first", "second"):
        await bench.send(named(name))
    first, second = sorted([(await events.next_body())["version"] for _ in range(2)])

    assert begun.begun_at is not None
    assert (before, second) == (1, first + 1)
    since_1970 = begun.begun_at - datetime(1970, 1, 1, tzinfo=UTC)
    assert first == since_1970 // timedelta(microseconds=1) + 1 < 2**53


async def test_a_fact_keeps_its_event_id_in_a_database_that_has_forgotten_it(bench: Bench) -> None:
    async def note_once(message: UserUpdated, work: UnitOfWork) -> None:
        work.publish(Noted(user_id=message.user_id, note="x"), once_for=message.user_id)

    await bench.start({"user.updated.v1": note_once})
    events = await bench.listen()
    await bench.send(named("Ada"))
    first = await events.next_body()
    await bench.parts.pool.execute("TRUNCATE test.accepted_ids, test.outbox")

    await bench.send(named("Ada", user_id="u2"))
    await bench.send(named("Ada"))
    other, again = await events.next_body(), await events.next_body()

    assert again["event_id"] == first["event_id"]
    assert other["event_id"] != first["event_id"]


async def test_versions_of_one_subject_have_no_gap_however_many_replicas(bench: Bench) -> None:
    async def twice(message: UserUpdated, work: UnitOfWork) -> None:
        for half in ("a", "b"):
            work.publish(Noted(user_id="all", note=half))

    await bench.start({"user.updated.v1": twice})
    await bench.start({"user.updated.v1": twice})
    events = await bench.listen()

    for n in range(50):
        await bench.send(named(f"n{n}", f"u{n}"))

    versions = [(await events.next_body())["version"] for _ in range(100)]
    assert sorted(versions) == list(range(1, 101))


async def test_a_reply_goes_to_whoever_asked(bench: Bench) -> None:
    async def report(message: ReportRevenueRequested, work: UnitOfWork) -> None:
        work.reply({"total": "12.00"})

    await bench.start({"report.revenue_requested.v1": report})
    queue = await bench.channel.declare_queue(exclusive=True)
    replies = await Listener.of(queue)

    await bench.send(REPORT, reply_to=queue.name)

    reply = await replies.next()
    assert orjson.loads(reply.body) == {"ok": True, "result": {"total": "12.00"}}
    assert reply.correlation_id
    assert reply.expiration == 600.0


async def test_a_refused_request_is_answered_too(bench: Bench) -> None:
    async def refuse(message: ReportRevenueRequested, work: UnitOfWork) -> None:
        raise PermanentError("no", code="report_not_possible")

    await bench.start({"report.revenue_requested.v1": refuse})
    queue = await bench.channel.declare_queue(exclusive=True)
    replies = await Listener.of(queue)

    await bench.send(REPORT, reply_to=queue.name)

    assert await replies.next_body() == {
        "ok": False,
        "code": "report_not_possible",
        "reason": "no",
    }


async def test_an_answer_that_is_too_large_says_so(bench: Bench) -> None:
    async def report(message: ReportRevenueRequested, work: UnitOfWork) -> None:
        work.reply({"content": "x" * (8 * 1024 * 1024)})

    await bench.start({"report.revenue_requested.v1": report})
    queue = await bench.channel.declare_queue(exclusive=True)
    replies = await Listener.of(queue)

    await bench.send(REPORT, reply_to=queue.name)

    assert (await replies.next_body())["code"] == "too_large"


async def test_nobody_to_answer_is_no_failure(bench: Bench) -> None:
    async def report(message: ReportRevenueRequested, work: UnitOfWork) -> None:
        work.reply({"total": "12.00"})

    await bench.start({"report.revenue_requested.v1": report})

    await bench.send(REPORT)
    await bench.send(REPORT, reply_to="gone.queue")

    assert [await bench.next_settlement() for _ in range(2)] == [Done(), Done()]
    await until(lambda: all_published(bench))


async def test_bodies_lie_sealed_in_the_outbox(bench: Bench) -> None:
    await bench.start()
    await bench.send(named("Ada Lovelace"))
    assert await bench.next_settlement() == Done()

    rows = await bench.parts.pool.fetch("SELECT * FROM test.outbox")

    assert len(rows) == 1
    assert b"Ada" not in rows[0]["body"]
    assert "Ada" not in str(dict(rows[0]))


async def test_a_crash_after_the_commit_loses_no_event(bench: Bench) -> None:
    """Another replica relays what the dead one had leased to itself."""
    replica = await bench.start(policy=quicker(outbox_lease_s=1.0))
    replica._sending.publisher.publish = _dies  # type: ignore[method-assign,assignment]
    replica._sending._relay._publisher = _Nobody()  # type: ignore[assignment]
    events = await bench.listen()
    await bench.send(named("Ada"))
    assert await bench.next_settlement() == Done()

    await bench.start(service="crm-worker", routes=Routes())

    assert (await events.next_body())["note"] == "Ada"
    await until(lambda: all_published(bench))


async def test_work_without_a_message_commits_and_publishes(bench: Bench) -> None:
    messaging = await bench.start(routes=Routes(), service="webhook-gateway")
    events = await bench.listen()

    async with messaging.committer.begin("default", correlation_id="c1") as work:
        work.record(RECORD, "m1", "polled")
        work.publish(Noted(user_id="u1", note="polled"))

    event = await events.next()
    assert orjson.loads(event.body)["note"] == "polled"
    assert event.correlation_id == "c1"
    assert await bench.handled() == ["polled"]


async def test_what_services_send_each_other_is_sealed_on_the_wire(bench: Bench) -> None:
    heard: asyncio.Queue[Any] = asyncio.Queue()

    async def hear(message: WebhookReceived, work: UnitOfWork) -> None:
        heard.put_nowait(message)

    await bench.start(routes=Routes(webhooks={"billing.#": Route(WebhookReceived, hear)}))
    gateway = await bench.start(routes=Routes(), service="webhook-gateway")
    wire = await bench.listen(WEBHOOKS)

    webhook = WebhookReceived(
        webhook_id="w1",
        product="billing",
        event="renewed",
        received_at="2026-01-01T00:00:00Z",
        payload={"email": "ada@example.com"},
    )
    async with gateway.committer.begin("default") as work:
        work.send(
            WEBHOOKS, webhook.routing_key, webhook.model_dump_json().encode(), message_id="w1"
        )

    assert (await asyncio.wait_for(heard.get(), 20)) == webhook
    message = await wire.next()
    assert message.headers["x-sealed"] == 1
    assert b"ada" not in message.body


async def test_what_no_queue_takes_yet_is_kept_until_one_does(bench: Bench) -> None:
    heard = asyncio.Event()

    async def hear(message: WebhookReceived, work: UnitOfWork) -> None:
        heard.set()

    policy = quicker(outbox_lease_s=1.0)
    gateway = await bench.start(routes=Routes(), service="webhook-gateway", policy=policy)
    webhook = WebhookReceived(
        webhook_id="w1",
        product="desk",
        event="ticket_update",
        received_at="2026-01-01T00:00:00Z",
        payload={},
    )
    async with gateway.committer.begin("default") as work:
        work.send(
            WEBHOOKS, webhook.routing_key, webhook.model_dump_json().encode(), message_id="w1"
        )
    await gateway._sending.outgoing.idle()
    assert not await all_published(bench)

    await bench.start(
        service="desk-worker",
        routes=Routes(webhooks={"desk.#": Route(WebhookReceived, hear)}),
    )

    await asyncio.wait_for(heard.wait(), 20)


async def test_a_webhook_that_is_given_up_is_no_failed_command(bench: Bench) -> None:
    async def refuse(message: WebhookReceived, work: UnitOfWork) -> None:
        raise PermanentError("no", code="no")

    await bench.start(routes=Routes(webhooks={"billing.#": Route(WebhookReceived, refuse)}))
    events = await bench.listen()

    await bench.send(b"{}", exchange=WEBHOOKS, routing_key="billing.renewed.v1")

    await bench.dead_letter()
    assert events.messages.empty()


class _Nobody:
    async def wait_up(self) -> None:
        await asyncio.Event().wait()

    is_up = False
    refused = refused_routes.RefusedRoutes(lambda _route: None)


async def _dies(*_: object) -> None:
    raise Unavailable("the process is gone")


async def test_a_subscriber_s_full_queue_gives_the_others_no_copies(bench: Bench, monkeypatch):
    monkeypatch.setattr(refused_routes, "_FIRST_S", 0.1)
    messaging = await bench.start(policy=quicker(outbox_lease_s=0.1, relay_poll_s=0.05))
    heard = await bench.listen(key="noted.v1")
    full = await bench.channel.declare_queue(
        exclusive=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"}
    )
    await full.bind("zoho.events", "noted.v1")

    for n in range(16):
        async with messaging.committer.begin("default") as work:
            work.publish(Noted(user_id="u1", note=f"n{n}"))
            work.publish(Noted(user_id="u1", note=f"other {n}"))
        await messaging._sending.outgoing.idle()
    await until(lambda: _refused(bench, at_least=4))
    await full.unbind("zoho.events", "noted.v1")

    notes = set()
    while len(notes) < 32:
        notes.add((await heard.next_body())["note"])
    await until(lambda: all_published(bench))
    copies = heard.messages.qsize()
    assert copies <= 10  # one for each time that a message was tried


async def _refused(bench: Bench, *, at_least: int) -> bool:
    [metrics] = bench.metrics
    labels = {"exchange": "zoho.events", "routing_key": "noted.v1"}
    count = metrics.registry.get_sample_value("publishes_refused_total", labels)
    return (count or 0) >= at_least
