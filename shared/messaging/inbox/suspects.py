"""Count the deaths of processes that held a message which was not stored yet."""

from __future__ import annotations

from collections.abc import Collection

import asyncpg


class Suspects:
    """The suspects of one service's schema, by digest. Raises `Unavailable` during an outage."""

    def __init__(self, pool: asyncpg.Pool, schema: str) -> None:
        raise NotImplementedError

    async def note(self, digests: Collection[bytes]) -> dict[bytes, int]:
        """Count an attempt at each, committed before it is touched; returns the counts.

        An attempt that is never cleared ended in a death.
        """
        raise NotImplementedError

    async def clear(self, digests: Collection[bytes]) -> None:
        """The messages were stored: they killed nobody."""
        raise NotImplementedError
