"""Commands of one subject are done in the order in which they first arrived."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from datetime import UTC, datetime

from shared.contracts.commands import (
    Command,
    InteractionRecorded,
    SubscriptionCancelRequested,
    SubscriptionRequested,
    SupportEscalated,
    SupportMessageAdded,
    UserUpdated,
)
from shared.contracts.webhooks import WebhookReceived
from shared.errors import NotYetKnown, Postponed, Unavailable
from shared.messaging.handling.policy import WaitPolicy
from shared.messaging.handling.routes import Route, Routes
from shared.messaging.handling.settlement import Done, GiveUp, Postpone, Retry, WaitForFact
from shared.messaging.handling.unit_of_work import UnitOfWork
from tests.shared.messaging.conftest import RECORD, Bench, named, note, quicker


async def test_one_subject_is_done_one_by_one_across_replicas(bench: Bench) -> None:
    running: dict[str, int] = defaultdict(int)
    arrivals: dict[str, list[int]] = defaultdict(list)
    overlaps = []

    async def watch(message: UserUpdated, work: UnitOfWork) -> None:
        running[message.user_id] += 1
        if running[message.user_id] > 1:
            overlaps.append(message.user_id)
        await asyncio.sleep(0.002)
        arrivals[message.user_id].append(work.arrived)
        running[message.user_id] -= 1
        await note(message, work)

    await bench.start({"user.updated.v1": watch})
    await bench.start({"user.updated.v1": watch})

    for n in range(60):
        await bench.send(named(f"n{n}", f"u{n % 3}"))
    acked = 0
    while acked < 60:
        acked += await bench.next_settlement() == Done()

    assert overlaps == []
    assert all(order == sorted(order) for order in arrivals.values())
    assert len(await bench.handled()) == 60


async def test_within_one_replica_the_order_is_that_of_publishing(bench: Bench) -> None:
    await bench.start()

    for n in range(40):
        await bench.send(named(f"n{n:02}"))
    acked = 0
    while acked < 40:
        acked += await bench.next_settlement() == Done()

    assert await bench.handled() == [f"n{n:02}" for n in range(40)]


async def test_a_later_command_waits_while_an_earlier_one_is_retried(bench: Bench) -> None:
    async def fail_first(message: UserUpdated, work: UnitOfWork) -> None:
        if message.full_name == "first" and work.attempt == 1:
            raise Unavailable("not now")
        await note(message, work)

    await bench.start({"user.updated.v1": fail_first})
    await bench.send(named("first"))
    assert await bench.next_settlement() == Retry(0.2)

    await bench.send(named("second"))

    assert [await bench.next_settlement() for _ in range(2)] == [Done(), Done()]
    assert await bench.handled() == ["first", "second"]


async def test_other_subjects_do_not_wait(bench: Bench) -> None:
    go_on = asyncio.Event()

    async def hold_u1(message: UserUpdated, work: UnitOfWork) -> None:
        if message.user_id == "u1":
            await go_on.wait()
        await note(message, work)

    await bench.start({"user.updated.v1": hold_u1})
    await bench.send(named("held", "u1"))
    await bench.send(named("free", "u2"))

    assert await bench.next_settlement() == Done()
    assert await bench.handled() == ["free"]
    go_on.set()
    assert await bench.next_settlement() == Done()


async def test_what_waits_for_something_unknown_leaves_the_line(bench: Bench) -> None:
    """A cancellation overtook its subscription's request: it waits, and is done after it."""
    known: set[str] = set()
    done: list[str] = []

    async def request(message: SubscriptionRequested, work: UnitOfWork) -> None:
        known.add(message.subscription_id)
        done.append("requested")
        work.record_fact("subscription", message.subscription_id)

    async def cancel(message: SubscriptionCancelRequested, work: UnitOfWork) -> None:
        if message.subscription_id not in known:
            raise unknown_subscription(message.subscription_id)
        done.append("cancelled")

    await bench.start(
        {"subscription.requested.v1": request, "subscription.cancel_requested.v1": cancel}
    )
    await bench.send(SubscriptionCancelRequested(subscription_id="s1"))
    assert await bench.next_settlement() == WaitForFact("subscription", "s1")

    await bench.send(SubscriptionRequested(user_id="u1", subscription_id="s1", plan_code="pro"))

    assert [await bench.next_settlement() for _ in range(2)] == [Done(), Done()]
    assert done == ["requested", "cancelled"]


async def test_a_fact_recorded_while_the_message_goes_to_wait_is_not_missed(bench: Bench) -> None:
    known: set[str] = set()
    looked, go_on = asyncio.Event(), asyncio.Event()

    async def cancel(message: SubscriptionCancelRequested, work: UnitOfWork) -> None:
        if message.subscription_id not in known:
            looked.set()
            await go_on.wait()
            raise unknown_subscription(message.subscription_id)

    messaging = await bench.start({"subscription.cancel_requested.v1": cancel})
    await bench.send(SubscriptionCancelRequested(subscription_id="s1"))
    await looked.wait()
    async with messaging.committer.begin("default") as work:
        known.add("s1")
        work.record_fact("subscription", "s1")
    go_on.set()

    while await bench.next_settlement() != Done():
        pass
    assert await bench.open_messages() == 0


async def test_it_keeps_the_order_of_its_first_arrival(bench: Bench) -> None:
    """So that an old change coming back from a delay can be told from a newer one."""
    arrivals: dict[str, list[int]] = defaultdict(list)

    async def wait_once(message: UserUpdated, work: UnitOfWork) -> None:
        first_time = not arrivals[message.full_name or ""]
        arrivals[message.full_name or ""].append(work.arrived)
        if message.full_name == "old" and first_time:
            raise NotYetKnown("no such user", key=message.user_id)
        work.record_fact("user", message.user_id)

    await bench.start({"user.updated.v1": wait_once})
    await bench.send(named("old"))
    assert await bench.next_settlement() == WaitForFact("user", "u1")
    await bench.send(named("new"))

    while len(arrivals["old"]) < 2 or not arrivals["new"]:
        await bench.next_settled()
    assert len(set(arrivals["old"])) == 1
    assert arrivals["old"][0] < arrivals["new"][0]


async def test_the_unknown_is_given_up_after_a_while_under_its_own_code(bench: Bench) -> None:
    async def unknown(message: UserUpdated, work: UnitOfWork) -> None:
        raise NotYetKnown("no such user", key=message.user_id)

    waits = WaitPolicy(other_facts_s=0.3)
    await bench.start({"user.updated.v1": unknown}, policy=quicker(waits=waits))
    failed = await bench.listen(key="command.failed.v1")
    await bench.send(named("Ada"))

    settlement = await bench.next_settlement()
    while not isinstance(settlement, GiveUp):
        settlement = await bench.next_settlement()
    assert settlement.code == "unknown_user"
    assert (await failed.next_body())["code"] == "unknown_user"


async def test_the_unknown_is_not_given_up_while_what_may_record_it_is_open(bench: Bench) -> None:
    go_on = asyncio.Event()

    async def unknown(message: InteractionRecorded, work: UnitOfWork) -> None:
        raise NotYetKnown("no such user", key=message.user_id)

    async def slow(message: UserUpdated, work: UnitOfWork) -> None:
        await go_on.wait()

    routes = Routes(
        commands={
            "interaction.recorded.v1": Route(InteractionRecorded, unknown),
            "user.updated.v1": Route(UserUpdated, slow, records=("user",)),
        }
    )
    await bench.start(routes=routes, policy=quicker(waits=WaitPolicy(other_facts_s=0.3, factor=99)))
    await bench.send(InteractionRecorded(user_id="u1", interaction_id="i1", title="t", content="c"))
    assert await bench.next_settlement() == WaitForFact("user", "u1")
    await bench.send(named("Ada", "u1"))

    await asyncio.sleep(2)  # nothing reports that an end was counted and did not come
    assert await bench.dead_letters() == []
    go_on.set()

    settlement = await bench.next_settlement()
    while not isinstance(settlement, GiveUp):
        settlement = await bench.next_settlement()
    assert settlement.code == "unknown_user"


async def test_a_subscription_is_in_the_line_of_the_user_who_asked_for_it(bench: Bench) -> None:
    order: list[str] = []
    started, go_on = asyncio.Event(), asyncio.Event()

    async def request(message: SubscriptionRequested, work: UnitOfWork) -> None:
        started.set()
        await go_on.wait()
        order.append("requested")

    async def other(message: Command, work: UnitOfWork) -> None:
        order.append(message.routing_key)

    await bench.start(
        {
            "subscription.requested.v1": request,
            "subscription.cancel_requested.v1": other,
            "user.updated.v1": other,
        }
    )
    await bench.send(SubscriptionRequested(user_id="u1", subscription_id="s1", plan_code="pro"))
    await started.wait()
    await bench.send(named("Ada", "u1"))
    await bench.send(SubscriptionCancelRequested(subscription_id="s1"))
    await bench.send(named("Grace", "u2"))
    assert await bench.next_settlement() == Done()
    go_on.set()
    for _ in range(3):
        assert await bench.next_settlement() == Done()

    assert order == [
        "user.updated.v1",
        "requested",
        "user.updated.v1",
        "subscription.cancel_requested.v1",
    ]


async def test_an_escalation_without_a_user_has_the_line_of_its_email(bench: Bench) -> None:
    done: list[str] = []
    go_on = asyncio.Event()

    async def escalate(message: SupportEscalated, work: UnitOfWork) -> None:
        await go_on.wait()
        done.append(message.escalation_id)

    async def comment(message: SupportMessageAdded, work: UnitOfWork) -> None:
        done.append(message.message_id)

    await bench.start({"support.escalated.v1": escalate, "support.message_added.v1": comment})
    for at in (1, 2):
        await bench.send(
            SupportEscalated(
                escalation_id=f"e{at}",
                email="ada@example.com" if at == 1 else "ADA@Example.com",
                subject="Help",
                description="It broke",
                transcript="…",
            )
        )
        await bench.send(
            SupportMessageAdded(
                escalation_id=f"e{at}",
                message_id=f"c{at}",
                author="Ada",
                content="…",
                is_public=True,
            )
        )
    go_on.set()
    for _ in range(4):
        assert await bench.next_settlement() == Done()

    assert done == ["e1", "c1", "e2", "c2"]


async def test_a_short_wait_spends_no_attempt(bench: Bench) -> None:
    async def not_yet(message: UserUpdated, work: UnitOfWork) -> None:
        if not waited:
            waited.append(work.attempt)
            raise Postponed("in a moment", retry_after_s=0.05)
        work.record(RECORD, "m", str(work.attempt))

    waited: list[int] = []
    await bench.start({"user.updated.v1": not_yet})
    await bench.send(named("Ada"))

    assert await bench.next_settlement() == Postpone(0.05)
    assert await bench.next_settlement() == Done()
    assert await bench.handled() == ["1"]


async def test_a_reused_id_does_not_hold_up_the_line(bench: Bench) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def slow(message: UserUpdated, work: UnitOfWork) -> None:
        started.set()
        await go_on.wait()
        await note(message, work)

    await bench.start({"user.updated.v1": slow})
    failed = await bench.listen(key="command.failed.v1")
    await bench.send(named("first"), message_id="m1")
    await started.wait()

    await bench.send(named("another body"), message_id="m1")
    assert (await failed.next_body())["code"] == "message_id_reused"
    await bench.send(named("second"))
    go_on.set()

    assert [await bench.next_settlement() for _ in range(2)] == [Done(), Done()]
    assert await bench.handled() == ["first", "second"]


def unknown_subscription(subscription_id: str) -> NotYetKnown:
    return NotYetKnown(
        "no such subscription",
        kind="subscription",
        key=subscription_id,
        code="unknown_subscription",
    )


async def test_what_a_former_release_did_not_know_is_found_by_the_next_one(bench: Bench) -> None:
    async def count(message: WebhookReceived, work: UnitOfWork) -> None:
        work.record(RECORD, message.webhook_id, message.event)

    former = Routes(webhooks={"crm.contacts.v1": Route(WebhookReceived, count)})
    await bench.start(routes=former)
    queue = await bench.channel.get_queue("billing-worker.intake.webhooks")
    await queue.bind("zoho.webhooks", "crm.deals.v1")  # as the next release binds it
    deal = WebhookReceived(
        webhook_id="w1", product="crm", event="deals", received_at=datetime.now(UTC), payload={}
    )
    await bench.send(
        deal.model_dump_json().encode(), exchange="zoho.webhooks", routing_key="crm.deals.v1"
    )
    await bench.accepted_all()
    assert await bench.open_messages() == 1

    await bench.start(routes=Routes(webhooks={"crm.#": Route(WebhookReceived, count)}))

    assert await bench.next_settlement() == Done()
    assert await bench.handled() == ["deals"]


async def test_webhooks_of_one_record_are_done_one_by_one_and_others_beside_them(
    bench: Bench,
) -> None:
    running: Counter[str] = Counter()
    together = asyncio.Event()

    async def see(message: WebhookReceived, work: UnitOfWork) -> None:
        record = str(message.payload["ids"][0])
        running[record] += 1
        if len(+running) == 2:
            together.set()
        await together.wait()
        assert running[record] == 1
        running[record] -= 1
        work.record(RECORD, message.webhook_id, record)

    routes = Routes(webhooks={"crm.#": Route(WebhookReceived, see)})
    for _ in range(2):
        await bench.start(routes=routes)
    for number, record in enumerate(("a", "a", "b", "a")):
        hint = WebhookReceived(
            webhook_id=f"w{number}",
            product="crm",
            event="contacts",
            received_at=datetime.now(UTC),
            payload={"module": "Contacts", "operation": "update", "ids": [record]},
        )
        await bench.send(
            hint.model_dump_json().encode(), exchange="zoho.webhooks", routing_key="crm.contacts.v1"
        )

    assert [await bench.next_settlement() for _ in range(4)] == [Done()] * 4
    assert sorted(await bench.handled()) == ["a", "a", "a", "b"]
