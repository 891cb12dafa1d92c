"""A message is handled once, whatever the broker and the sender do."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from shared.background import ended
from shared.contracts.commands import UserUpdated
from shared.errors import Unavailable
from shared.messaging.handling.settlement import Done, Retry
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.messaging.service.messaging import Messaging
from tests.shared.messaging.conftest import Bench, named, note, quicker


async def test_ten_copies_are_handled_once(bench: Bench) -> None:
    await bench.start()
    events = await bench.listen()

    await asyncio.gather(*(bench.send(named("Ada"), message_id="m1") for _ in range(10)))
    await bench.send(named("Grace"), message_id="m2")

    assert [await bench.next_settlement() for _ in range(2)] == [Done(), Done()]
    assert await bench.handled() == ["Ada", "Grace"]
    assert [(await events.next_body())["note"] for _ in range(2)] == ["Ada", "Grace"]
    await bench.accepted_all()
    assert bench.settled.empty()


async def test_copies_that_come_while_it_is_handled_change_nothing(bench: Bench) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def slow(message: UserUpdated, work: UnitOfWork) -> None:
        started.set()
        await go_on.wait()
        await note(message, work)

    await bench.start({"user.updated.v1": slow})
    await bench.start({"user.updated.v1": slow})
    await bench.send(named("Ada"), message_id="m1")
    await started.wait()

    for _ in range(4):
        await bench.send(named("Ada"), message_id="m1")
    await bench.accepted_all()
    go_on.set()

    assert await bench.next_settlement() == Done()
    assert await bench.handled() == ["Ada"]
    assert await bench.open_messages() == 0


async def test_an_id_used_again_for_another_body_is_refused(bench: Bench) -> None:
    await bench.start()
    events = await bench.listen(key="command.failed.v1")
    await bench.send(named("Ada"), message_id="m1")
    assert await bench.next_settlement() == Done()

    await bench.send(named("Grace"), message_id="m1")

    assert (await events.next_body())["code"] == "message_id_reused"
    assert await bench.handled() == ["Ada"]


async def test_a_connection_lost_before_the_ack_does_not_repeat_the_work(bench: Bench) -> None:
    replica: list[Messaging] = []
    calls = []

    async def lose_the_connection(message: UserUpdated, work: UnitOfWork) -> None:
        calls.append(work.attempt)
        if len(calls) == 1:
            connection = replica[0]._intake_link._connection
            assert connection is not None
            await connection.close()
        await note(message, work)

    replica.append(await bench.start({"user.updated.v1": lose_the_connection}))
    events = await bench.listen()
    await bench.send(named("Ada"))

    assert await bench.next_settlement() == Done()
    await bench.send(named("Grace", "u2"))
    assert await bench.next_settlement() == Done()
    assert calls == [1, 1]
    assert await bench.handled() == ["Ada", "Grace"]
    assert (await events.next_body())["version"] == 1


async def test_an_attempt_that_lost_its_claim_writes_nothing(bench: Bench) -> None:
    """Its lease lapsed while it hung, and another replica took the message over."""
    hung, wake_up = asyncio.Event(), asyncio.Event()

    async def hang_once(message: UserUpdated, work: UnitOfWork) -> None:
        if hung.is_set():
            return await note(message, work)
        hung.set()
        await wake_up.wait()
        work.record("INSERT INTO test.handled (message_id, note) VALUES ('late', 'late')")
        return await note(message, work)

    for _ in range(2):
        replica = await bench.start({"user.updated.v1": hang_once}, policy=quicker(lease_s=0.5))
        await ended(replica._renewal._task)  # as when the process is stopped by its host
    await bench.send(named("Ada"), message_id="m1")
    await hung.wait()

    assert await bench.next_settlement() == Done()  # of the other, once the lease has lapsed
    assert await bench.handled() == ["Ada"]
    wake_up.set()
    await bench.send(named("Grace"), message_id="m2")

    assert await bench.next_settlement() == Done()
    assert await bench.handled() == ["Ada", "Grace"]


async def test_a_poisoned_unit_harms_no_other_of_its_group(bench: Bench) -> None:
    together = asyncio.Barrier(4)

    async def poison(message: UserUpdated, work: UnitOfWork) -> None:
        if work.attempt == 1:
            await together.wait()  # so that all commit as one group
        if message.full_name == "poison" and work.attempt == 1:
            work.record("INSERT INTO test.handled (message_id, note) VALUES (NULL, 'half')")
            work.record("INSERT INTO test.nowhere VALUES (1)")
        await note(message, work)

    await bench.start({"user.updated.v1": poison})

    for user, name in enumerate(["Ada", "poison", "Grace", "Edith"]):
        await bench.send(named(name, f"u{user}"))

    settled = [await bench.next_settlement() for _ in range(5)]
    assert Counter(settled) == {Done(): 4, Retry(0.2): 1}
    assert sorted(await bench.handled()) == ["Ada", "Edith", "Grace", "poison"]


async def test_what_a_failed_attempt_recorded_is_not_written(bench: Bench) -> None:
    async def fail_once(message: UserUpdated, work: UnitOfWork) -> None:
        await note(message, work)
        if work.attempt == 1:
            raise Unavailable("not now")
        await looked.wait()

    looked = asyncio.Event()
    await bench.start({"user.updated.v1": fail_once})
    events = await bench.listen()
    await bench.send(named("Ada"))

    assert await bench.next_settlement() == Retry(0.2)
    assert await bench.handled() == []
    looked.set()
    assert await bench.next_settlement() == Done()
    assert await bench.handled() == ["Ada"]
    assert (await events.next_body())["version"] == 1


@pytest.mark.parametrize("count", [250])
async def test_many_messages_each_commit_once(bench: Bench, count: int) -> None:
    await bench.start()
    await bench.start()

    await asyncio.gather(*(bench.send(named(f"n{n}", f"u{n % 40}")) for n in range(count)))

    acked = 0
    while acked < count:
        acked += await bench.next_settlement() == Done()
    assert sorted(await bench.handled()) == sorted(f"n{n}" for n in range(count))
