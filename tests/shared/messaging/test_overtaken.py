"""A handler whose ground has changed while it was deciding decides anew."""

from __future__ import annotations

import asyncio

import pytest

from shared.contracts.commands import UserUpdated
from shared.messaging.handling.settlement import DecideAnew, Done, Postpone
from shared.messaging.handling.unit_of_work import UnitOfWork
from tests.shared.messaging.conftest import Bench, named, note, quicker

_TAKE_REVISION = """
    DO $$
    BEGIN
        UPDATE test.ground SET revision = revision + 1 WHERE revision = {read};
        IF NOT found THEN
            RAISE EXCEPTION 'it changed meanwhile' USING ERRCODE = '{sqlstate}';
        END IF;
    END $$
    """


@pytest.mark.parametrize("sqlstate", ["serialization_failure", "ZR001"])
async def test_what_was_decided_on_old_ground_is_decided_anew(bench: Bench, sqlstate: str) -> None:
    pool = bench.parts.pool
    await pool.execute("CREATE TABLE test.ground AS SELECT 1 AS revision")
    decided, go_on = asyncio.Event(), asyncio.Event()

    async def decide(message: UserUpdated, work: UnitOfWork) -> None:
        read = await pool.fetchval("SELECT revision FROM test.ground")
        if message.full_name == "slow" and not decided.is_set():
            decided.set()
            await go_on.wait()
        work.record(_TAKE_REVISION.format(read=read, sqlstate=sqlstate))
        await note(message, work)

    await bench.start({"user.updated.v1": decide})
    await bench.send(named("slow", user_id="u1"))
    await decided.wait()
    await bench.send(named("quick", user_id="u2"))
    assert await bench.next_settlement() == Done()
    go_on.set()

    assert await bench.next_settlement() == DecideAnew()
    assert await bench.next_settlement() == Done()
    assert await bench.handled() == ["quick", "slow"]
    assert await pool.fetchval("SELECT revision FROM test.ground") == 3


async def test_one_on_old_ground_does_not_hold_up_those_that_commit_with_it(bench: Bench) -> None:
    pool = bench.parts.pool
    await pool.execute("CREATE TABLE test.ground AS SELECT 1 AS revision")
    together = asyncio.Barrier(5)
    revisions = iter([0, 1])  # what it read the first time is gone

    async def decide(message: UserUpdated, work: UnitOfWork) -> None:
        read = next(revisions) if message.full_name == "stale" else None
        if read is not None:
            work.record(_TAKE_REVISION.format(read=read, sqlstate="ZR001"))
        if read != 1:
            await together.wait()
        await note(message, work)

    await bench.start({"user.updated.v1": decide})
    names = ["a", "b", "c", "d", "stale"]
    for name in names:
        await bench.send(named(name, user_id=name))

    settled = [await bench.next_settlement() for _ in (*names, "anew")]

    assert settled.count(Done()) == 5
    assert settled.count(DecideAnew()) == 1
    assert sorted(await bench.handled()) == names


async def test_what_stays_stale_is_decided_anew_a_few_times_and_then_later(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = bench.parts.pool
    await pool.execute("CREATE TABLE test.ground AS SELECT 1 AS revision")
    is_stale = True

    async def decide(message: UserUpdated, work: UnitOfWork) -> None:
        read = 0 if is_stale else 1
        work.record(_TAKE_REVISION.format(read=read, sqlstate="ZR001"))
        await note(message, work)

    await bench.start({"user.updated.v1": decide}, policy=quicker(stale_reads=3))
    await bench.send(named("stale"))

    settled = [await bench.next_settled() for _ in range(4)]
    assert [each.settlement for each in settled] == [*[DecideAnew()] * 3, Postpone(5.0)]
    logged = [line for line in capsys.readouterr().out.splitlines() if "decide_anew" in line]
    assert len(logged) == 3
    waits = await pool.fetch("SELECT wait, code, attempt FROM test.inbox")
    assert [tuple(row) for row in waits] == [("time", "overtaken", 0)]  # no attempt was spent

    is_stale = False
    await pool.execute("UPDATE test.inbox SET due_at = now()")
    await pool.execute("UPDATE test.lines SET due_at = now()")
    assert await bench.next_settlement() == Done()
