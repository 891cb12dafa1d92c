"""Look up in whose line a thing is dealt with."""

from __future__ import annotations

import asyncpg

from shared.storage.pool import unavailable_when_down


class Names:
    """The names of one service's schema. `Acceptance` and `Lines.settle` record and free them."""

    def __init__(self, pool: asyncpg.Pool, schema: str) -> None:
        self._pool = pool
        self._line_sql = (
            f"SELECT line FROM {schema}.names WHERE org = $1 AND kind = $2 AND name = $3"  # noqa: S608
        )

    async def line_of(self, org: str, kind: str, name: str) -> str | None:
        """The line (`user:<id>`) of what is called so. None when nobody named it."""
        with unavailable_when_down():
            line: str | None = await self._pool.fetchval(self._line_sql, org, kind, name)
        return line
