"""A handler whose ground has changed while it was deciding decides anew."""

from __future__ import annotations

import asyncio

import pytest

from shared.contracts.commands import UserUpdated
from shared.messaging.handling.settlement import Done
from shared.messaging.handling.unit_of_work import UnitOfWork
from tests.shared.messaging.conftest import Bench, named, note

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

    settled = [await bench.next_settlement() for _ in names]

    assert settled == [Done()] * 5
    assert sorted(await bench.handled()) == names
