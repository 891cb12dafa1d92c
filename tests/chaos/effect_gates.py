"""Hold statements of the workers in PostgreSQL for as long as a test wants.

A trigger waits for an advisory lock that the test holds, in the transaction of whoever changes a
row of a victim. Who waits is seen in pg_locks: the moment is there when all that are expected do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

import asyncpg

from deploy.local.stack import Stack

_LOCK: Final = 741_001
_PATIENCE_S: Final = 90

_SET_UP: Final = f"""
    CREATE SCHEMA chaos;
    CREATE TABLE chaos.victims (gate text, name text, PRIMARY KEY (gate, name));

    CREATE FUNCTION chaos.wait() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    DECLARE
        changed jsonb := to_jsonb(CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END);
    BEGIN
        IF EXISTS (SELECT FROM chaos.victims
                   WHERE gate = TG_ARGV[0] AND name = changed ->> TG_ARGV[1]) THEN
            PERFORM pg_advisory_xact_lock_shared({_LOCK});
        END IF;
        RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
    END $$;
"""
_TRIGGERS: Final = (
    ("relay.effects", "BEFORE INSERT", "", "'intent', 'business_id'"),
    ("relay.effects", "BEFORE UPDATE", "WHEN (NEW.state = 'done')", "'result', 'business_id'"),
    ("relay.tombstones", "BEFORE INSERT OR UPDATE", "", "'tombstone', 'user_id'"),
    ("relay.erasure_parts", "BEFORE INSERT OR UPDATE", "", "'part', 'user_id'"),
    ("relay.data_keys", "BEFORE UPDATE", "", "'key', 'owner'"),
    *(
        (f"{schema}.inbox", "BEFORE DELETE", "", "'settle', 'message_id'")
        for schema in ("billing", "crm", "desk")
    ),
)


class Gates:
    """Names the victims, waits for them, and lets them go or cuts them off.

    async with gates_of(stack) as gates:
        await gates.close("intent", business_ids)     # from now on they wait
        await gates.until_waiting(len(business_ids))  # the moment
        …                                             # kill
        await gates.cut_off()                         # what waits never happens
    """

    def __init__(self, holder: asyncpg.Connection, watch: asyncpg.Connection) -> None:
        self._holder = holder
        self._watch = watch

    async def close(self, gate: str, names: Iterable[str]) -> None:
        """Hold whoever comes to this gate with one of these names.

        Gates: intent, result (ids of effects), settle (of messages), tombstone, part (of users),
        key (owners).
        """
        await self._holder.execute("SELECT pg_advisory_lock($1)", _LOCK)
        await self.name(gate, names)

    async def name(self, gate: str, names: Iterable[str]) -> None:
        """Further victims, while something is closed."""
        await self._watch.executemany(
            "INSERT INTO chaos.victims VALUES ($1, $2)", [(gate, name) for name in names]
        )

    async def until_waiting(self, count: int) -> None:
        """Raises AssertionError when there are not as many within 90 s."""
        waiting: Sequence[int] = ()
        for _ in range(_PATIENCE_S * 20):
            waiting = await self._waiting()
            if len(waiting) >= count:
                break
            await asyncio.sleep(0.05)
        assert len(waiting) == count, f"{len(waiting)} of {count} wait at the gate"

    async def until_somebody_waits(self) -> None:
        async with asyncio.timeout(_PATIENCE_S):
            while not await self._waiting():  # noqa: ASYNC110 - nothing reports it
                await asyncio.sleep(0.05)

    async def open(self) -> None:
        """Let them go: what waits is committed, whoever asked for it may be dead."""
        await self._watch.execute("DELETE FROM chaos.victims")
        await self._holder.execute("SELECT pg_advisory_unlock_all()")

    async def cut_off(self) -> None:
        """Roll back what waits, as when its client's connection is found to be dead."""
        await self._watch.execute("DELETE FROM chaos.victims")
        for pid in await self._waiting():
            await self._watch.execute("SELECT pg_terminate_backend($1, 5000)", pid)
        await self._holder.execute("SELECT pg_advisory_unlock_all()")

    async def effects(self, business_ids: Sequence[str]) -> list[str]:
        """The states of these effects that are committed, in no order."""
        rows = await self._watch.fetch(
            "SELECT state FROM relay.effects WHERE business_id = ANY ($1)", business_ids
        )
        return [row["state"] for row in rows]

    async def inbox(self, schema: str, message_id: str) -> tuple[str, str | None]:
        """State and code of a message. `absent` before it is accepted."""
        row = await self._watch.fetchrow(
            f"""
            SELECT CASE WHEN l.claim IS NOT NULL THEN 'claimed'
                        WHEN o.arrived IS NOT NULL THEN 'waiting'
                        WHEN d.arrived IS NOT NULL THEN 'given_up' ELSE 'done' END, d.code
            FROM {schema}.accepted_ids a
            LEFT JOIN {schema}.inbox o USING (org, routing_key, message_id)
            LEFT JOIN {schema}.dead_letters d USING (org, routing_key, message_id)
            LEFT JOIN {schema}.lines l ON l.leased_arrived = o.arrived
            WHERE a.message_id = $1
            """,  # noqa: S608
            message_id,
        )
        return (row[0], row[1]) if row else ("absent", None)

    async def _waiting(self) -> list[int]:
        rows = await self._watch.fetch(
            """
            SELECT pid FROM pg_locks
            WHERE locktype = 'advisory' AND NOT granted AND classid = 0 AND objid = $1
              AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            """,
            _LOCK,
        )
        return [row["pid"] for row in rows]


@asynccontextmanager
async def gates_of(stack: Stack) -> AsyncIterator[Gates]:
    """The triggers are there while the context is entered, and nobody waits after it."""
    name = urlsplit(stack.env["DATABASE_URL"]).path
    url = urlsplit(stack.env["POSTGRES_URL"])._replace(path=name).geturl()
    holder, watch = await asyncpg.connect(url), await asyncpg.connect(url)
    gates = Gates(holder, watch)
    try:
        await watch.execute(_SET_UP)
        # One table at a time: who holds one and waits for another blocks the workers' transactions
        # and is blocked by them.
        for number, (table, event, when, arguments) in enumerate(_TRIGGERS):
            await watch.execute(
                f"""
                CREATE TRIGGER chaos_{number} {event} ON {table}
                FOR EACH ROW {when} EXECUTE FUNCTION chaos.wait({arguments})
                """
            )
        yield gates
    finally:
        try:
            await gates.cut_off()
            for number, (table, *_) in enumerate(_TRIGGERS):
                await watch.execute(f"DROP TRIGGER IF EXISTS chaos_{number} ON {table}")
            await watch.execute("DROP SCHEMA chaos CASCADE")
        finally:
            await holder.close()
            await watch.close()
