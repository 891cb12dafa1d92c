"""Count the deaths of processes that held a message which was not stored yet."""

from __future__ import annotations

from collections.abc import Collection

import asyncpg

from shared.storage.clock import DatabaseClock, database_clock
from shared.storage.deadlocks import repeated_after_deadlock
from shared.storage.pool import unavailable_when_down


class Suspects:
    """The suspects of one service's schema, by digest. Raises `Unavailable` during an outage."""

    def __init__(
        self, pool: asyncpg.Pool, schema: str, *, clock: DatabaseClock = database_clock
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._note_sql = f"""
            INSERT INTO {schema}.suspects AS s (digest, attempts, noted_at)
            SELECT d, 1, coalesce($2, clock_timestamp()) FROM unnest($1::bytea[]) AS d ORDER BY d
            ON CONFLICT (digest) DO UPDATE
            SET attempts = s.attempts + 1, noted_at = excluded.noted_at
            RETURNING digest, attempts
            """  # noqa: S608
        self._clear_sql = f"DELETE FROM {schema}.suspects WHERE digest = ANY ($1::bytea[])"  # noqa: S608

    async def note(self, digests: Collection[bytes]) -> dict[bytes, int]:
        """Count an attempt at each, committed before it is touched. Returns the counts.

        An attempt that is never cleared ended in a death.
        """
        rows = await self._fetch(self._note_sql, [*set(digests)], self._clock())
        return {row["digest"]: row["attempts"] for row in rows}

    async def clear(self, digests: Collection[bytes]) -> None:
        """The messages were stored: they killed nobody."""
        await self._fetch(self._clear_sql, [*digests])

    async def _fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """Run one statement of its own transaction, again at once after a deadlock."""
        with unavailable_when_down():
            return await repeated_after_deadlock(lambda: self._pool.fetch(sql, *arguments))
