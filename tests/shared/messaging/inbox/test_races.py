"""Two connections at the same lines, names and facts: every order of their commits ends well."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg
import pytest

from shared.messaging.inbox.acceptance import AcceptResult
from shared.messaging.inbox.inspection import InboxInspection
from shared.messaging.inbox.lines import (
    MessageOutcome,
    PutBackResult,
    RecordedFact,
    RecordedName,
    WaitKind,
)
from tests.shared.messaging.inbox.conftest import Inbox, message

T = TypeVar("T")


@asynccontextmanager
async def other(inbox: Inbox) -> AsyncIterator[tuple[Any, Any]]:
    """Another connection, inside a transaction that the test ends."""
    async with inbox.pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            yield connection, transaction
        finally:
            if connection.is_in_transaction():
                await transaction.rollback()


async def blocked(inbox: Inbox, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start it, and return once it waits for a lock."""
    task = asyncio.create_task(work)
    async with asyncio.timeout(10):
        while not task.done():
            waiting = await inbox.pool.fetchval(
                """
                SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event_type = 'Lock'
                """
            )
            if waiting:
                return task
    pytest.fail(f"it did not wait: {task.result()!r}")


async def test_two_intakes_that_commit_out_of_order_let_one_message_of_a_line_run(
    inbox: Inbox,
) -> None:
    async with other(inbox) as (slow, transaction):
        await inbox.on(slow).accept(message("first"))
        second = await blocked(inbox, inbox.accept(message("second")))
        assert await inbox.leased() == []
        await transaction.commit()
        await second

    assert await inbox.ids() == ["first"]
    assert await inbox.ids() == []


async def test_a_message_accepted_while_its_line_is_deleted_is_leased(inbox: Inbox) -> None:
    await inbox.accept(message("a"))
    leased = await inbox.next()

    async with other(inbox) as (settling, transaction):
        await inbox.settle_on(settling, leased)
        accepting = await blocked(inbox, inbox.accept(message("b")))
        await transaction.commit()
        await accepting

    assert await inbox.ids() == ["b"]


async def test_a_settlement_that_waits_for_an_acceptance_finds_what_was_accepted(
    inbox: Inbox,
) -> None:
    await inbox.accept(message("a"))
    leased = await inbox.next()

    async with other(inbox) as (accepting, transaction):
        await inbox.on(accepting).accept(message("b"))
        settling = await blocked(inbox, inbox.settle(leased))
        await transaction.commit()
        assert await settling == {leased.arrived}

    assert await inbox.ids() == ["b"]


async def test_a_crash_before_the_commit_of_a_settlement_changes_nothing(inbox: Inbox) -> None:
    await inbox.accept(message("a"), message("b"))
    leased = await inbox.next(lease_s=10)

    async with other(inbox) as (settling, transaction):
        await inbox.settle_on(settling, leased)
        await transaction.rollback()

    assert await inbox.leased() == []
    inbox.after(11)
    assert await inbox.ids() == ["a"]


async def test_who_goes_to_wait_while_the_fact_is_being_recorded_runs_again(
    inbox: Inbox,
) -> None:
    await inbox.accept(message("a", "u1"))
    waits = await inbox.next()

    async with other(inbox) as (recording, transaction):
        await inbox.settle_on(recording, facts=[RecordedFact("default", "user", "u1")])
        going = await blocked(inbox, inbox.wait_for(waits))
        await transaction.commit()
        assert await going is PutBackResult.AGAIN


async def test_who_records_a_fact_while_another_goes_to_wait_wakes_it(inbox: Inbox) -> None:
    await inbox.accept(message("a", "u1"))
    waits = await inbox.next()

    async with other(inbox) as (going, transaction):
        assert await inbox.on(going).wait_for(waits) is PutBackResult.WAITS
        recording = await blocked(inbox, inbox.settle(facts=[("user", "u1")]))
        await transaction.commit()
        await recording

    assert await inbox.ids() == ["a"]


async def test_a_fact_that_is_rolled_back_wakes_nobody(inbox: Inbox) -> None:
    await inbox.accept(message("a", "u1"))
    waits = await inbox.next()

    async with other(inbox) as (recording, transaction):
        await inbox.settle_on(recording, facts=[RecordedFact("default", "user", "u1")])
        going = await blocked(inbox, inbox.wait_for(waits))
        await transaction.rollback()
        assert await going is PutBackResult.WAITS


async def test_a_name_recorded_while_a_message_joins_its_own_line_takes_it_along(
    inbox: Inbox,
) -> None:
    invoice = ("invoice", "i1")
    recorded = RecordedName("default", *invoice, "u1")

    async with other(inbox) as (accepting, transaction):
        await inbox.on(accepting).accept(message("void", None, named=(invoice,)))

        async def record() -> None:
            async with inbox.pool.acquire() as connection, connection.transaction():
                await inbox.settle_on(connection, names=[recorded])

        recording = await blocked(inbox, record())
        await transaction.commit()
        await recording

    assert (await inbox.next()).line == "user:u1"


async def test_a_message_that_joins_its_own_line_while_the_name_is_recorded_goes_to_its_owner(
    inbox: Inbox,
) -> None:
    invoice = ("invoice", "i1")

    async with other(inbox) as (recording, transaction):
        await inbox.settle_on(recording, names=[RecordedName("default", *invoice, "u1")])
        accepting = await blocked(inbox, inbox.accept(message("void", None, named=(invoice,))))
        await transaction.commit()
        await accepting

    assert (await inbox.next()).line == "user:u1"
    assert await inbox.counts() == (1, 1)


async def test_two_intakes_of_one_queue_store_a_message_once(inbox: Inbox) -> None:
    async with other(inbox) as (former, transaction):
        await inbox.on(former).accept(message("a"), message("b"))
        successor = await blocked(inbox, inbox.accept(message("a"), message("b"), message("c")))
        await transaction.commit()

    assert await successor == [AcceptResult.REPEATED, AcceptResult.REPEATED, AcceptResult.NEW]
    assert await inbox.open() == ["a", "b", "c"]


async def test_an_intake_whose_predecessor_rolled_back_stores_everything(inbox: Inbox) -> None:
    async with other(inbox) as (former, transaction):
        await inbox.on(former).accept(message("a"), message("b"))
        successor = await blocked(inbox, inbox.accept(message("a"), message("b")))
        await transaction.rollback()

    assert await successor == [AcceptResult.NEW, AcceptResult.NEW]
    assert await inbox.open() == ["a", "b"]


async def test_a_lease_passes_over_lines_that_another_is_settling(inbox: Inbox) -> None:
    await inbox.accept(message("a", "u1"), message("b", "u1"), message("other", "u2"))
    leased, settled = await inbox.leased(limit=1), await inbox.leased(limit=1)

    async with other(inbox) as (settling, transaction):
        await inbox.settle_on(settling, *leased, *settled)
        assert await inbox.leased() == []
        await transaction.commit()

    assert await inbox.ids() == ["b"]


async def test_a_claim_lost_while_its_settlement_waits_repeats_the_transaction(
    inbox: Inbox,
) -> None:
    await inbox.accept(message("a"))
    former = await inbox.next(lease_s=10)
    inbox.after(11)

    async with other(inbox) as (taking, transaction):
        await taking.execute("SELECT FROM test.lines FOR UPDATE")
        settling = await blocked(inbox, inbox.settle(former))
        await taking.execute("UPDATE test.lines SET claim = claim + 1")
        await transaction.commit()
        with pytest.raises(asyncpg.SerializationError):
            await settling

    assert await inbox.settle(former) == set()


INVOICE = ("invoice", "i1")
_HEADS_THAT_ARE_NOT_THE_FIRST = """
    SELECT l.line FROM test.lines l WHERE l.head <> (
        SELECT m.arrived FROM test.inbox m
        WHERE m.org = l.org AND m.line = l.line AND m.state = 'in_line'
        ORDER BY m.place, m.arrived LIMIT 1)
"""


async def test_who_waits_for_a_fact_and_is_moved_meanwhile_is_woken_in_its_new_line(
    inbox: Inbox,
) -> None:
    await inbox.accept(message("void", None, named=(INVOICE,)))
    await inbox.wait_for(await inbox.next(), "user", "u9")

    async with other(inbox) as (naming, transaction):
        await inbox.on(naming).accept(message("create", "u1", names=(INVOICE,)))
        recording = await blocked(inbox, inbox.settle(facts=[("user", "u9")]))
        await transaction.commit()
        with pytest.raises(asyncpg.SerializationError):
            await recording

    await inbox.settle(facts=[("user", "u9")])  # as the committer does
    assert await inbox.pool.fetch(_HEADS_THAT_ARE_NOT_THE_FIRST) == []
    assert await inbox.ids() == ["void"]


async def test_who_looks_again_and_is_moved_meanwhile_is_woken_in_its_new_line(
    inbox: Inbox,
) -> None:
    await inbox.accept(message("void", None, named=(INVOICE,)))
    await inbox.put_back(await inbox.next(), kind=WaitKind.LOOK, due_s=10.0)
    inbox.after(11)

    async with other(inbox) as (naming, transaction):
        await inbox.on(naming).accept(message("create", "u1", names=(INVOICE,)))
        leasing = await blocked(inbox, inbox.ids())
        await transaction.commit()
        await leasing

    assert await inbox.pool.fetch(_HEADS_THAT_ARE_NOT_THE_FIRST) == []
    await inbox.leased()
    assert await inbox.pool.fetch(_HEADS_THAT_ARE_NOT_THE_FIRST) == []


async def test_many_replicas_settle_everything_once_and_in_order(inbox: Inbox) -> None:
    users, count, replicas = 7, 20, 4
    done: list[str] = []

    async def accept() -> None:
        for at in range(count):
            await inbox.accept(*[message(f"{user}:{at}", f"u{user}") for user in range(users)])

    async def work(accepting: asyncio.Task[None]) -> None:
        while True:
            over = accepting.done()
            leased = await inbox.leased(limit=3)
            if not leased and over and await inbox.counts() == (0, 0):
                return
            for one in leased:
                outcome = MessageOutcome.DONE
                if await inbox.settle(one, outcome=outcome):
                    done.append(one.message_id)

    async with asyncio.timeout(120):
        accepting = asyncio.create_task(accept())
        await asyncio.gather(accepting, *(work(accepting) for _ in range(replicas)))

    for user in range(users):
        of_user = [one for one in done if one.startswith(f"{user}:")]
        assert of_user == [f"{user}:{at}" for at in range(count)]


LOCK_NAME = "SELECT FROM test.names WHERE kind = 'invoice' AND name = 'i1' FOR UPDATE"
LOCK_LINE = "SELECT test.lock_lines('{default}', '{user:u1}')"

LOCK_LETTER = "SELECT FROM test.dead_letters FOR UPDATE"


async def given_up_with_its_name(inbox: Inbox) -> int:
    """A message that named an invoice and was given up. Another of its line is open."""
    await inbox.accept(message("create", "u1", names=(("invoice", "i1"),)), message("next", "u1"))
    create = await inbox.next()
    await inbox.give_up(create)
    return create.arrived


async def loses_deadlocks_last(connection: Any) -> None:
    """Let PostgreSQL undo the other transaction: the one that looks for a deadlock first."""
    await connection.execute("SET LOCAL deadlock_timeout = '1 min'")


async def test_an_operator_s_replay_waits_for_names_before_it_holds_lines(inbox: Inbox) -> None:
    arrived = await given_up_with_its_name(inbox)
    async with other(inbox) as (settlement, transaction):
        await settlement.execute(LOCK_NAME)
        replay = await blocked(inbox, inbox.dead_letters.replay(arrived, by="ann"))

        await settlement.execute("SELECT FROM test.lines WHERE line = 'user:u1' FOR UPDATE NOWAIT")
        await transaction.commit()

    assert await replay
    assert await inbox.open() == ["next", "create"]


@pytest.mark.parametrize("act", ["replay", "discard"])
async def test_what_an_operator_does_to_a_dead_letter_is_repeated_after_a_deadlock(
    inbox: Inbox, act: str
) -> None:
    arrived = await given_up_with_its_name(inbox)
    async with other(inbox) as (settlement, transaction):
        await loses_deadlocks_last(settlement)
        first, then = (LOCK_LINE, LOCK_NAME) if act == "replay" else (LOCK_NAME, LOCK_LETTER)
        await settlement.execute(first)
        acting = await blocked(inbox, getattr(inbox.dead_letters, act)(arrived, by="ann"))

        await settlement.execute(then)
        await transaction.commit()

    assert await acting
    assert await inbox.dead_letters.page() == []


async def test_an_operator_s_intervention_is_repeated_after_a_deadlock(inbox: Inbox) -> None:
    await inbox.accept(message("a", "u1"))
    [row] = await inbox.pool.fetch("SELECT arrived FROM test.inbox")
    async with other(inbox) as (settlement, transaction):
        await loses_deadlocks_last(settlement)
        await settlement.execute("SELECT FROM test.inbox FOR UPDATE")
        inspection = InboxInspection(inbox.pool, "test", clock=inbox.clock)
        acting = await blocked(inbox, inspection.end_wait(row["arrived"], by="ann"))

        await settlement.execute(LOCK_LINE)
        await transaction.commit()

    assert await acting
