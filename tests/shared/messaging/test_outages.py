"""Broker and database go away and come back: nothing is lost, nothing is done twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from aiormq.exceptions import ChannelNotFoundEntity
from prometheus_client import Gauge

from shared.contracts.commands import UserUpdated
from shared.errors import Misconfigured
from shared.messaging.handling.gate import SimpleGate
from shared.messaging.handling.routes import QueueConfig, Route
from shared.messaging.handling.settlement import Ack, Pause, Postpone, Retry
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.messaging.service.messaging import Messaging
from tests.shared.messaging.conftest import Bench, Noted, named, note, quicker, until


async def test_consuming_goes_on_when_the_broker_is_back(bench: Bench) -> None:
    messaging = await bench.start()
    await bench.send(named("before"))
    assert await bench.next_settlement() == Ack()

    await bench.parts.broker.down()
    await until(lambda: _is(messaging.ready, False))
    await bench.send(named("meanwhile"))
    await bench.parts.broker.up()

    while len(await bench.handled()) < 2:  # the first may come again: its ack may be lost
        assert await bench.next_settlement() == Ack()
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
    assert await bench.next_settlement() == Ack()
    assert await bench.handled() == ["Ada"]
    await bench.parts.broker.up()

    assert await bench.next_settlement() == Ack()  # it came again, and was done already
    assert calls == [1]
    assert (await events.next_body())["note"] == "Ada"


async def test_what_is_committed_while_the_broker_is_away_is_published_later(bench: Bench) -> None:
    policy = quicker(outbox_lease_s=1.0)
    gateway = await bench.start(lanes=[], service="webhook-gateway", policy=policy)
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
        assert await bench.next_settlement() == Ack()


async def test_messages_wait_in_place_while_the_database_is_away(bench: Bench) -> None:
    attempts = []

    async def count(message: UserUpdated, work: UnitOfWork) -> None:
        attempts.append(work.attempt)
        await note(message, work)

    await bench.start({"user.updated.v1": count})
    await bench.send(named("before"))
    assert await bench.next_settlement() == Ack()

    await bench.parts.database.down()
    for n in range(10):
        await bench.send(named(f"n{n}", f"u{n}"))
    queue = await bench.channel.get_queue("billing-worker.commands", ensure=False)
    await until(lambda: _taken(bench, queue.name))
    await bench.parts.database.up()

    assert [await bench.next_settlement() for _ in range(10)] == [Ack()] * 10
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

    assert await bench.next_settlement() == Ack()
    assert calls == [1]


async def test_a_queue_pauses_while_its_gate_is_closed(bench: Bench) -> None:
    gate = SimpleGate()

    async def shut(message: UserUpdated, work: UnitOfWork) -> None:
        if message.full_name == "first" and not shut_once:
            shut_once.append(True)
            gate.close()
            raise Misconfigured("no licence", product="billing", cause="licence")
        await note(message, work)

    shut_once: list[bool] = []
    lanes = [QueueConfig("commands", {"user.updated.v1": Route(UserUpdated, shut)}, gate=gate)]
    messaging = await bench.start(lanes=lanes)
    await bench.send(named("first"))
    assert isinstance(await bench.next_settlement(), Pause)
    paused = messaging._metrics.consumer_paused.labels("billing-worker.commands")
    await until(lambda: _is_value(paused, 1))

    await bench.send(named("second", "u2"))
    assert await bench.handled() == []
    gate.open()

    assert [await bench.next_settlement() for _ in range(2)] == [Ack(), Ack()]
    assert sorted(await bench.handled()) == ["first", "second"]
    await until(lambda: _is_value(paused, 0))


async def test_what_waits_in_line_goes_back_when_the_queue_pauses(bench: Bench) -> None:
    gate = SimpleGate()
    started, go_on = asyncio.Event(), asyncio.Event()

    async def slow(message: UserUpdated, work: UnitOfWork) -> None:
        started.set()
        await go_on.wait()
        await note(message, work)

    lanes = [QueueConfig("commands", {"user.updated.v1": Route(UserUpdated, slow)}, gate=gate)]
    await bench.start(lanes=lanes)
    await bench.send(named("first"))
    await started.wait()
    await bench.send(named("second"))
    await until(lambda: _claimed(bench, 2))

    gate.close()
    assert await bench.next_settlement() == Postpone(0.2)
    go_on.set()
    assert await bench.next_settlement() == Ack()
    gate.open()

    assert await bench.next_settlement() == Ack()
    assert await bench.handled() == ["first", "second"]


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

    assert await bench.next_settlement() == Ack()
    assert await bench.handled() == ["Ada"]
    assert (await events.next_body())["note"] == "Ada"
    await bench.send(named("Grace", "u2"))
    await bench.start()
    assert await bench.next_settlement() == Ack()
    assert await bench.handled() == ["Ada", "Grace"]  # and Ada was acknowledged


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
    while await bench.next_settlement() != Ack():
        pass
    assert await bench.handled() == ["Ada"]


async def test_a_consumer_that_the_broker_cancelled_comes_back(bench: Bench) -> None:
    messaging = await bench.start()
    await bench.send(named("before"))
    assert await bench.next_settlement() == Ack()
    failed = await bench.listen(key="command.failed.v1")

    queue = await bench.channel.get_queue("billing-worker.commands", ensure=False)
    await queue.delete(if_unused=False, if_empty=False)
    await until(lambda: _exists(messaging, queue.name))
    await bench.send(named("after"))

    while await bench.next_settlement() != Ack():
        pass
    assert failed.messages.empty()
    assert await bench.handled() == ["before", "after"]


async def test_large_bodies_in_flight_hold_the_queue_back(bench: Bench) -> None:
    running = 0
    most = 0

    async def weigh(message: UserUpdated, work: UnitOfWork) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        await note(message, work)

    route = Route(UserUpdated, weigh)
    lanes = [QueueConfig("commands", {"user.updated.v1": route}, prefetch=2, max_bytes=50)]
    await bench.start(lanes=lanes)
    for n in range(6):
        await bench.send(named(f"n{n}", f"u{n}"))

    assert [await bench.next_settlement() for _ in range(6)] == [Ack()] * 6
    assert most <= 2


async def test_a_retry_keeps_what_the_sender_wrote(bench: Bench) -> None:
    seen = []

    async def look(message: UserUpdated, work: UnitOfWork) -> None:
        assert work.delivery is not None
        seen.append(work.delivery)
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
    assert await bench.next_settlement() == Ack()
    first, again = seen
    assert (again.exchange, again.routing_key) == ("zoho.commands", "user.updated.v1")
    assert (again.message_id, again.reply_to) == ("m1", "answers")
    assert again.correlation_id == first.correlation_id
    assert again.timestamp == first.timestamp
    assert again.traceparent == "00-1-2-01"
    assert again.headers["mine"] == "kept"
    assert again.body == first.body


async def _claimed(bench: Bench, count: int) -> bool:
    return int(await bench.parts.pool.fetchval("SELECT count(*) FROM test.inbox")) == count


async def _is(check: Callable[[], Awaitable[bool]], value: bool) -> bool:
    return await check() == value


async def _is_value(gauge: Gauge, value: float) -> bool:
    return float(gauge._value.get()) == value


async def _exists(messaging: Messaging, queue: str) -> bool:
    channel = await messaging._consume_link.channel(confirms=False)
    try:
        declared = await channel.queue_declare(queue, passive=True)
    except ChannelNotFoundEntity:
        return False
    await channel.close()
    return declared.consumer_count == 1


async def _taken(bench: Bench, queue: str) -> bool:
    declared = await bench.channel.declare_queue(queue, passive=True)
    return declared.declaration_result.message_count == 0
