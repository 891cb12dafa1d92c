"""Look into the inbox of a running system, and let time pass in it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg

from deploy.local.stack import Stack

SCHEMAS = ("billing", "crm")
_PATIENCE_S = 180.0
# A count of the waits takes no more at once than twice the twentieth part of a wait's length.
_COUNTED_AT_ONCE_S = 90.0

_PASSES = """
    UPDATE {schema}.lines SET due_at = due_at - $1::interval WHERE leased_until IS NULL;
    UPDATE {schema}.inbox
    SET accepted_at = accepted_at - $1::interval, due_at = due_at - $1::interval,
        waiting_since = waiting_since - $1::interval, counted_at = counted_at - $1::interval,
        check_at = check_at - $1::interval
    """
_PASSES_FOR_CONTACTS = "UPDATE crm.contacts SET wanted_since = wanted_since - $1::interval"

# What a trigger sees goes into a table of the test's own.
_SEES_LEASES = """
    CREATE TABLE public.seen (arrived bigint, claim bigint, PRIMARY KEY (arrived, claim));
    CREATE FUNCTION public.see() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO public.seen VALUES (NEW.leased_arrived, NEW.claim) ON CONFLICT DO NOTHING;
        RETURN NULL;
    END $$;
    CREATE TRIGGER see AFTER INSERT OR UPDATE OF claim ON crm.lines FOR EACH ROW
    WHEN (NEW.claim IS NOT NULL AND NEW.leased_arrived IS NOT NULL) EXECUTE FUNCTION public.see();
    """
_SEES_ARRIVALS = """
    CREATE TABLE public.seen (arrived bigint, message_id text);
    CREATE FUNCTION public.see() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO public.seen VALUES (NEW.arrived, NEW.message_id);
        RETURN NULL;
    END $$;
    CREATE TRIGGER see AFTER INSERT ON crm.inbox FOR EACH ROW EXECUTE FUNCTION public.see();
    """
_SEES_NOTHING = """
    DROP FUNCTION IF EXISTS public.see CASCADE;
    DROP TABLE IF EXISTS public.seen;
    """


async def fetch(stack: Stack, sql: str, *arguments: Any) -> list[asyncpg.Record]:
    """Run one statement on a connection of its own: a system in an upheaval loses the others."""
    connection = await asyncpg.connect(stack.env["DATABASE_URL"])
    try:
        rows: list[asyncpg.Record] = await connection.fetch(sql, *arguments)
    finally:
        await connection.close()
    return rows


async def count(stack: Stack, sql: str, *arguments: Any) -> int:
    [[number]] = await fetch(stack, f"SELECT count(*) FROM {sql}", *arguments)  # noqa: S608
    return int(number)


async def until_count(stack: Stack, sql: str, *arguments: Any, expected: int) -> None:
    """Return once so many rows are there. Raises AssertionError."""
    found = -1
    with suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE_S):
            while (found := await count(stack, sql, *arguments)) != expected:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    assert found == expected, f"{found} rows, not {expected}: {sql}"


@asynccontextmanager
async def leases_seen(stack: Stack) -> AsyncIterator[None]:
    """Every lease of crm-worker is noted, while the context is entered. See `looks`."""
    async with _seen(stack, _SEES_LEASES):
        yield


@asynccontextmanager
async def arrivals_seen(stack: Stack) -> AsyncIterator[None]:
    """Every message that comes into crm-worker's inbox is noted. See `arrivals`."""
    async with _seen(stack, _SEES_ARRIVALS):
        yield


@asynccontextmanager
async def _seen(stack: Stack, begin: str) -> AsyncIterator[None]:
    await _execute(stack, _SEES_NOTHING + begin)
    try:
        yield
    finally:
        await _execute(stack, _SEES_NOTHING)


async def looks(stack: Stack, among: str) -> Counter[int]:
    """How many of these messages were looked at once, twice, and so on."""
    sql = f"""
        SELECT count(s.claim) AS looks FROM (SELECT arrived FROM {among}) m
        LEFT JOIN public.seen s ON s.arrived = m.arrived GROUP BY m.arrived
        """  # noqa: S608
    return Counter(row["looks"] for row in await fetch(stack, sql))


async def arrivals(stack: Stack) -> Counter[str]:
    """How often each message came into the inbox, by its message_id."""
    return Counter(
        row["message_id"] for row in await fetch(stack, "SELECT message_id FROM public.seen")
    )


async def time_passes(stack: Stack, seconds: float) -> None:
    """All that waits in the inboxes is so much older, and the workers have counted it.

    In steps, because a wait counts a longer absence of its worker as no more than that.
    """
    while seconds > 0:
        step_s = min(seconds, _COUNTED_AT_ONCE_S)
        await move_back(stack, step_s)
        for schema in SCHEMAS:
            due = f"{schema}.inbox WHERE check_at <= clock_timestamp()"
            await until_count(stack, due, expected=0)
        seconds -= step_s


async def move_back(stack: Stack, seconds: float) -> None:
    statements = [
        statement.replace("$1", f"'{seconds} s'")
        for schema in SCHEMAS
        for statement in _PASSES.format(schema=schema).split(";")
    ]
    statements.append(_PASSES_FOR_CONTACTS.replace("$1", f"'{seconds} s'"))
    while True:
        try:
            await _execute(stack, ";".join(statements))
        except asyncpg.DeadlockDetectedError:
            continue  # with a worker, which repeats its own
        return


async def _execute(stack: Stack, sql: str) -> None:
    connection = await asyncpg.connect(stack.env["DATABASE_URL"])
    try:
        await connection.execute(sql)
    finally:
        await connection.close()
