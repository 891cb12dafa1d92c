"""A service rehearses on its connections before its first message, and leaves no trace of it."""

from __future__ import annotations

from contextlib import AsyncExitStack

from shared.messaging.handling.settlement import Done
from shared.storage.rehearsal import rehearse
from tests.shared.messaging.conftest import Bench, named

CONNECTIONS = 3


async def rows_by_table(bench: Bench) -> dict[str, int]:
    tables = await bench.parts.pool.fetch(
        """
        SELECT schemaname || '.' || tablename FROM pg_tables
        WHERE schemaname IN ('test', 'relay') ORDER BY 1
        """
    )
    return {
        name: await bench.parts.pool.fetchval(f"SELECT count(*) FROM {name}")  # noqa: S608
        for (name,) in tables
    }


async def test_a_rehearsal_leaves_nothing(bench: Bench) -> None:
    messaging = await bench.start()
    before = await rows_by_table(bench)

    await rehearse(bench.parts.pool, CONNECTIONS, messaging.rehearse)

    assert await rows_by_table(bench) == before
    await bench.send(named("Ada"))
    assert await bench.next_settlement() == Done()


async def test_each_connection_has_what_a_message_needs(bench: Bench) -> None:
    messaging = await bench.start()

    await rehearse(bench.parts.pool, CONNECTIONS, messaging.rehearse)

    prepared = []
    async with AsyncExitStack() as stack:
        for _ in range(bench.parts.pool.get_size()):  # the service itself has one now and then
            connection = await stack.enter_async_context(bench.parts.pool.acquire())
            rows = await connection.fetch("SELECT statement FROM pg_prepared_statements")
            prepared.append(" ".join(text for (text,) in rows))
    needed = ("accept_messages", "settle_messages", "raise_versions", "INSERT INTO test.outbox")
    assert sum(all(each in texts for each in needed) for texts in prepared) >= CONNECTIONS
