"""Count the deaths of processes that held a message which was not stored yet."""

from __future__ import annotations

from uuid import UUID

import asyncpg

from shared.storage.clock import DatabaseClock, database_clock
from shared.storage.deadlocks import repeated_after_deadlock
from shared.storage.pool import unavailable_when_down


class Suspects:
    """The suspects of one service's schema, by digest. Raises `Unavailable` during an outage.

    Every method may be repeated when its answer was lost.
    """

    def __init__(
        self, pool: asyncpg.Pool, schema: str, *, clock: DatabaseClock = database_clock
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._note_sql = f"""
            WITH noted AS (
                INSERT INTO {schema}.suspects (digest, try, noted_at)
                VALUES ($1, $2, coalesce($3, clock_timestamp())) ON CONFLICT DO NOTHING
            )
            SELECT count(*) + 1 AS tries FROM {schema}.suspects s
            WHERE s.digest = $1 AND s.try <> $2
            """  # noqa: S608
        self._take_back_sql = f"DELETE FROM {schema}.suspects WHERE digest = $1 AND try = $2"  # noqa: S608
        self._clear_sql = f"DELETE FROM {schema}.suspects WHERE digest = $1"  # noqa: S608

    async def note(self, digest: bytes, this_try: UUID) -> int:
        """Count a try, committed before the message is touched. Returns the count, with this one.

        A try that is neither taken back nor cleared ended in a death.
        """
        [(tries,)] = await self._fetch(self._note_sql, digest, this_try, self._clock())
        return int(tries)

    async def take_back(self, digest: bytes, this_try: UUID) -> None:
        """This try ended otherwise than in a death."""
        await self._fetch(self._take_back_sql, digest, this_try)

    async def clear(self, digest: bytes) -> None:
        """The message was stored: it killed nobody."""
        await self._fetch(self._clear_sql, digest)

    async def _fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """Run one statement of its own transaction, again at once after a deadlock."""
        with unavailable_when_down():
            return await repeated_after_deadlock(lambda: self._pool.fetch(sql, *arguments))
