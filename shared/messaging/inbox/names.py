"""Look up whose line a thing belongs to."""

from __future__ import annotations

import asyncpg


class Names:
    """The names of one service's schema. `Acceptance` and `Lines.settle` record and free them."""

    def __init__(self, pool: asyncpg.Pool, schema: str) -> None:
        raise NotImplementedError

    async def line_of(self, org: str, kind: str, name: str) -> str | None:
        """The line (`user:<id>`) of what is called so; None when nobody named it."""
        raise NotImplementedError
