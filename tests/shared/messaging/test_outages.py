"""Broker and database go away and come back: nothing is lost, nothing is done twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from aiormq.exceptions import ChannelNotFoundEntity

from shared.contracts.commands import InteractionRecorded, UserUpdated
from shared.errors import Misconfigured, Unavailable
from shared.messaging.dispatch.reservations import ClosedProduct, NoCalls
from shared.messaging.handling.policy import WaitPolicy
from shared.messaging.handling.routes import MessagePriority, Route, Routes
from shared.messaging.handling.settlement import Done, Retry, WaitForPerson
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.messaging.inbox.inspection import InboxInspection
from shared.messaging.service.messaging import Messaging
from tests.shared.messaging.conftest import RECORD, Bench, Noted, named, note, quicker, until


async def test_consuming_goes_on_when_the_broker_is_back(bench: Bench) -> None:
    messaging = await bench.start()
    await bench.send(named("before"))
    assert await bench.next_settlement() == Done()

    await bench.parts.broker.down()
    await until(lambda: _is(messaging.ready, False))
    await bench.send(named("meanwhile"))
    await bench.parts.broker.up()

    while len(await bench.handled()) < 2:  # the first may come again: its ack may be lost
        assert await bench.next_settlement() == Done()
    assert await bench.handled() == ["before", "meanwhile"]
    await until(messaging.ready)


async def test_work_under_way_is_finished_while_the_broker_is_away(bench: Bench) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()
    calls = []

    async def slow(message: UserUpdated, work: UnitOfWork) -> None:
        calls.append(work.attempt)
        started.set()
        await go_on.wait()
        await note(message, work)

    await bench.start({"user.updated.v1": slow}, policy=quicker(outbox_lease_s=1.0))
    events = await bench.listen()
    await bench.send(named("Ada"))
    await started.wait()

    await bench.parts.broker.down()
    go_on.set()
    assert await bench.next_settlement() == Done()
    assert await bench.handled() == ["Ada"]
    await bench.parts.broker.up()

    assert (await events.next_body())["note"] == "Ada"
    assert calls == [1]


async def test_what_is_committed_while_the_broker_is_away_is_published_later(bench: Bench) -> None:
    policy = quicker(outbox_lease_s=1.0)
    gateway = await bench.start(routes=Routes(), service="webhook-gateway", policy=policy)
    events = await bench.listen()
    await bench.parts.broker.down()
    await until(lambda: _is(gateway.ready, False))

    for n in range(5):
        async with gateway.committer.begin("default") as work:
            work.publish(Noted(user_id="u1", note=f"n{n}"))
    await bench.parts.broker.up()

    assert [(await events.next_body())["note"] for _ in range(5)] == [f"n{n}" for n in range(5)]


async def test_a_service_starts_while_the_broker_is_away(bench: Bench) -> None:
    await bench.parts.broker.down()
    async with AsyncExitStack() as stack:
        starting = asyncio.create_task(bench.start(stack=stack))
        await asyncio.sleep(0)
        await bench.parts.broker.up()
        await starting
        await bench.send(named("Ada"))
        assert await bench.next_settlement() == Done()


async def test_messages_stay_with_the_broker_while_the_database_is_away(bench: Bench) -> None:
    attempts = []

    async def count(message: UserUpdated, work: UnitOfWork) -> None:
        attempts.append(work.attempt)
        await note(message, work)

    await bench.start({"user.updated.v1": count})
    await bench.send(named("before"))
    assert await bench.next_settlement() == Done()

    await bench.parts.database.down()
    for n in range(10):
        await bench.send(named(f"n{n}", f"u{n}"))
    await until(lambda: _taken(bench, "billing-worker.intake.commands"))
    await bench.parts.database.up()

    assert [await bench.next_settlement() for _ in range(10)] == [Done()] * 10
    assert attempts == [1] * 11  # no attempt was spent


async def test_a_commit_waits_for_the_database(bench: Bench) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()
    calls = []

    async def slow(message: UserUpdated, work: UnitOfWork) -> None:
        calls.append(work.attempt)
        started.set()
        await go_on.wait()
        await note(message, work)

    await bench.start({"user.updated.v1": slow})
    await bench.send(named("Ada"))
    await started.wait()
    await bench.parts.database.down()
    go_on.set()
    await bench.parts.database.up()

    assert await bench.next_settlement() == Done()
    assert calls == [1]


async def test_messages_of_a_closed_product_are_passed_over(bench: Bench) -> None:
    budget = ClosedProducts()
    budget.close("billing")

    routes = Routes(
        commands={
            "user.updated.v1": Route(UserUpdated, note, calls={"billing": 1}),
            "interaction.recorded.v1": Route(InteractionRecorded, note_interaction),
        }
    )
    await bench.start(routes=routes, budget=budget)
    await bench.send(named("first"))
    await bench.send(
        InteractionRecorded(user_id="u2", interaction_id="i1", title="t", content="second")
    )

    assert await bench.next_settlement() == Done()
    assert await bench.handled() == ["second"]
    budget.open("billing")

    assert await bench.next_settlement() == Done()
    assert await bench.handled() == ["second", "first"]


@pytest.mark.parametrize(
    ("error", "product"),
    [
        (Misconfigured("no licence", product="billing", cause="licence"), "billing"),
        (Unavailable("no such key", code="unknown_key"), None),
    ],
)
async def test_what_a_person_has_to_mend_waits_without_an_end(
    bench: Bench, error: Exception, product: str | None
) -> None:
    async def fail(message: UserUpdated, work: UnitOfWork) -> None:
        raise error

    waits = WaitPolicy(other_facts_s=0.1, time_s=0.1)
    await bench.start({"user.updated.v1": fail}, policy=quicker(waits=waits))
    await bench.send(named("Ada"))

    assert await bench.next_settlement() == WaitForPerson(60.0, product)
    [waiting] = await InboxInspection(bench.parts.pool, "test").page()
    assert (waiting.waits_for, waiting.product, waiting.ends_at) == ("person", product, None)
    assert await bench.dead_letters() == []


async def test_a_stopping_service_finishes_what_it_began(bench: Bench) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def slow(message: UserUpdated, work: UnitOfWork) -> None:
        started.set()
        await go_on.wait()
        await note(message, work)

    async with AsyncExitStack() as stack:
        await bench.start({"user.updated.v1": slow}, stack=stack)
        events = await bench.listen()
        await bench.send(named("Ada"))
        await started.wait()
        stopping = asyncio.create_task(stack.pop_all().aclose())
        go_on.set()
        await stopping

    assert await bench.next_settlement() == Done()
    assert await bench.handled() == ["Ada"]
    assert (await events.next_body())["note"] == "Ada"
    await bench.send(named("Grace", "u2"))
    await bench.start()
    assert await bench.next_settlement() == Done()
    assert await bench.handled() == ["Ada", "Grace"]


async def test_what_a_stopping_service_cannot_finish_is_done_by_another(bench: Bench) -> None:
    started = asyncio.Event()

    async def hang(message: UserUpdated, work: UnitOfWork) -> None:
        started.set()
        await asyncio.Event().wait()

    async with AsyncExitStack() as stack:
        await bench.start(
            {"user.updated.v1": hang},
            stack=stack,
            policy=quicker(drain_timeout_s=0.1, lease_s=0.5),
        )
        await bench.send(named("Ada"))
        await started.wait()

    await bench.start()
    while await bench.next_settlement() != Done():
        pass
    assert await bench.handled() == ["Ada"]


async def test_a_consumer_that_the_broker_cancelled_comes_back(bench: Bench) -> None:
    messaging = await bench.start()
    await bench.send(named("before"))
    assert await bench.next_settlement() == Done()
    failed = await bench.listen(key="command.failed.v1")

    queue = await bench.channel.get_queue("billing-worker.intake.commands", ensure=False)
    await queue.delete(if_unused=False, if_empty=False)
    await until(lambda: _exists(messaging, queue.name))
    await bench.send(named("after"))

    while await bench.next_settlement() != Done():
        pass
    assert failed.messages.empty()
    assert await bench.handled() == ["before", "after"]


async def test_a_retry_keeps_what_the_sender_wrote(bench: Bench) -> None:
    seen = []

    async def look(message: UserUpdated, work: UnitOfWork) -> None:
        assert work.received is not None
        seen.append(work.received)
        if work.attempt == 1:
            raise RuntimeError

    await bench.start({"user.updated.v1": look})
    await bench.send(
        named("Ada"),
        message_id="m1",
        reply_to="answers",
        headers={"traceparent": "00-1-2-01", "mine": "kept"},
    )

    assert await bench.next_settlement() == Retry(0.2)
    assert await bench.next_settlement() == Done()
    first, again = seen
    assert (again.exchange, again.routing_key) == ("zoho.commands", "user.updated.v1")
    assert (again.message_id, again.reply_to) == ("m1", "answers")
    assert again.correlation_id == first.correlation_id
    assert again.timestamp == first.timestamp
    assert again.traceparent == "00-1-2-01"
    assert again.headers["mine"] == "kept"
    assert again.body == first.body


class ClosedProducts(NoCalls):
    """A budget whose products a test closes."""

    def __init__(self) -> None:
        self._closed: set[str] = set()

    def close(self, product: str) -> None:
        self._closed.add(product)

    def open(self, product: str) -> None:
        self._closed.discard(product)

    def closed(self) -> list[ClosedProduct]:
        return [
            ClosedProduct("default", product, int(priority))
            for product in self._closed
            for priority in MessagePriority
        ]


async def note_interaction(message: InteractionRecorded, work: UnitOfWork) -> None:
    work.record(RECORD, message.interaction_id, message.content)


async def _is(check: Callable[[], Awaitable[bool]], value: bool) -> bool:
    return await check() == value


async def _exists(messaging: Messaging, queue: str) -> bool:
    channel = await messaging._intake_link.channel(confirms=False)
    try:
        declared = await channel.queue_declare(queue, passive=True)
    except ChannelNotFoundEntity:
        return False
    await channel.close()
    return declared.consumer_count == 1


async def _taken(bench: Bench, queue: str) -> bool:
    declared = await bench.channel.declare_queue(queue, passive=True)
    return declared.declaration_result.message_count == 0
