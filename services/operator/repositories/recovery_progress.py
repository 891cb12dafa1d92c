"""Read what a recovery has looked for, and what it has cost. SQL over the effects journal."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

from services.operator.repositories.schemas import with_inbox


@dataclass(frozen=True)
class LookedFor:
    """The effects of one operation that a recovery presumed.

    Args:
        looking: nobody has looked yet, or the look has to be repeated.
        found: it was at Zoho, and was adopted.
        made: it was absent, and was made.
        absent: it was absent, or refused before, and is not made (yet).
        unclear: money that may have moved. A person decides.
        calls: what looking has cost so far.
    """

    product: str
    operation: str
    looking: int
    found: int
    made: int
    absent: int
    unclear: int
    calls: int

    @property
    def looked_for(self) -> int:
        return self.looking + self.found + self.made + self.absent + self.unclear

    @property
    def calls_to_come(self) -> int:
        """Forecast for what is still looked for: what each cost so far, at least one."""
        done = self.looked_for - self.looking
        each = self.calls / done if done else 1.0
        return round(self.looking * max(each, 1.0))


class RecoveryProgress:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def of(self, recovery_id: int) -> list[LookedFor]:
        rows = await self._pool.fetch(
            """
            SELECT product, operation,
                   count(*) FILTER (WHERE state = 'intended' AND presumed) AS looking,
                   count(*) FILTER (WHERE state = 'done' AND recovery_found) AS found,
                   count(*) FILTER (WHERE state = 'done' AND NOT recovery_found) AS made,
                   count(*) FILTER (WHERE state = 'clear' OR state = 'intended' AND NOT presumed)
                       AS absent,
                   count(*) FILTER (WHERE state = 'unknown') AS unclear,
                   sum(recovery_calls) AS calls
            FROM relay.effects WHERE recovery = $1
            GROUP BY product, operation ORDER BY product, operation
            """,
            recovery_id,
        )
        return [LookedFor(**dict(row)) for row in rows]

    async def open_commands(self) -> int:
        """How many commands are accepted and not settled: each may have to be looked for."""
        total = 0
        for schema in (await with_inbox(self._pool)).values():
            total += await self._pool.fetchval(
                f"SELECT count(*) FROM {schema}.inbox WHERE exchange = 'zoho.commands'"  # noqa: S608 - a constant
            )
        return total
