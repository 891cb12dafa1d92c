"""Know whether a message that is worked on is still the first of its line."""

from __future__ import annotations

import asyncpg

from shared.storage.pool import unavailable_when_down


class LineHeads:
    """The heads of one service's lines.

    What waits for a fact is off its line, so a later message of the line may be leased. When the
    fact is recorded before that one has read it, both can go on, and the earlier one goes first.
    """

    def __init__(self, pool: asyncpg.Pool, schema: str) -> None:
        self._pool = pool
        self._is_first_sql = f"""
            SELECT l.head = m.arrived FROM {schema}.inbox m
            CROSS JOIN LATERAL (
                SELECT l.head FROM {schema}.lines l
                WHERE l.org = m.org AND l.line = m.line OFFSET 0
            ) l
            WHERE m.arrived = $1
            """  # noqa: S608

    async def is_first(self, arrived: int) -> bool:
        """Whether no message has come before it since it was leased.

        Ask after the fact was read: whoever records it wakes what waits for it in the same
        transaction. True for one that is not there any more, whose commit is refused anyway.
        """
        with unavailable_when_down():
            is_first: bool | None = await self._pool.fetchval(self._is_first_sql, arrived)
        return is_first is not False
