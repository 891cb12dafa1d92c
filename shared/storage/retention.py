"""Delete what has been kept long enough: rules as data, applied in small batches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import asyncpg

from shared.background import PeriodicTask
from shared.storage.clock import DatabaseClock, database_clock
from shared.storage.pool import planned_anew

# Per rule and pass. A backlog is worked off over several passes and not in one long burst.
_BATCHES_PER_PASS = 20


@dataclass(frozen=True)
class Rule:
    """Rows of `table` that match `where` once they are `age_s` old.

    Args:
        where: a condition in which `$1` is the moment `age_s` ago by PostgreSQL's clock:
            `published_at < $1`. An index should serve it.
        batch: rows per statement.
        clear: what to set (`body = NULL, cleared_at = now()`) where the row itself stays. `where`
            must then exclude rows that are cleared already.
    """

    table: str
    where: str
    age_s: float
    batch: int = 500
    clear: str | None = None

    def statement(self) -> str:
        """Return the SQL of one batch: seconds, rows, and the moment that is now (or NULL).

        Rows that another replica is working on are left to it.
        """
        # All text here is the service's own source, never input.
        where = self.where.replace("$1", "(coalesce($3, now()) - make_interval(secs => $1))")
        act = f"UPDATE {self.table} SET {self.clear}" if self.clear else f"DELETE FROM {self.table}"  # noqa: S608
        return f"""
            WITH due AS MATERIALIZED (
                SELECT ctid FROM {self.table} WHERE {where} LIMIT $2 FOR UPDATE SKIP LOCKED
            )
            {act} WHERE ctid = ANY(ARRAY(TABLE due))
            """  # noqa: S608


class Pruner(PeriodicTask):
    """Applies the rules every `every_s`, for as long as its context is entered."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        rules: Sequence[Rule],
        *,
        every_s: float = 60.0,
        observe: Callable[[Rule, int], None] | None = None,
        clock: DatabaseClock = database_clock,
    ) -> None:
        super().__init__("pruner", every_s=every_s, jitter=True)
        self._pool = pool
        self._rules = rules
        self._observe = observe
        self._clock = clock

    async def prune(self) -> int:
        """Apply all rules once, and return the number of rows deleted or cleared."""
        return sum([await self._apply(rule) for rule in self._rules])

    async def _apply(self, rule: Rule) -> int:
        total = 0
        for _ in range(_BATCHES_PER_PASS):
            async with planned_anew(self._pool) as connection:
                status = await connection.execute(
                    rule.statement(), rule.age_s, rule.batch, self._clock()
                )
            count = int(status.rsplit(" ", 1)[1])
            total += count
            if count < rule.batch:
                break
        if total and self._observe:
            self._observe(rule, total)
        return total

    async def _run_once(self) -> bool:
        await self.prune()
        return False
