"""Hold all SQL of recoveries (restores and the search that follows) and of the marks.

Why so: docs/decisions/0105-recovery-after-a-restore.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import asyncpg

from shared.storage.clock import DatabaseClock, database_clock

_RECOVERY: Final = """
    id, state, noticed_at, noticed_by, reason, since, begun_at, begun_by, search_until, ended_at,
    ended_by
"""

# The applications' clocks and PostgreSQL's may differ.
_CLOCKS_DIFFER: Final = timedelta(minutes=10)

# What is read after it is what is true: notices and answers do not cross.
_ONE_AT_A_TIME: Final = "LOCK TABLE relay.recoveries IN SHARE ROW EXCLUSIVE MODE"


@dataclass(frozen=True, slots=True)
class SearchedRecovery:
    """A recovery whose search time is not over.

    What may have been done between `since` (the backup) and `begun_at` is looked for.
    """

    id: int
    since: datetime
    begun_at: datetime

    def surely_precedes(self, happened: datetime | None) -> bool:
        """Whether what happened then was after the restore. None, an unknown time, is not sure."""
        return happened is not None and happened > self.begun_at + _CLOCKS_DIFFER


@dataclass(frozen=True)
class Recovery:
    """A row of `relay.recoveries`. `state`: noticed, open, ended or not_needed."""

    id: int
    state: str
    noticed_at: datetime | None
    noticed_by: str | None
    reason: str | None
    since: datetime | None
    begun_at: datetime | None
    begun_by: str | None
    search_until: datetime | None
    ended_at: datetime | None
    ended_by: str | None


class Recoveries:
    """Of one database. `clock` is PostgreSQL's own, except in tests."""

    def __init__(self, pool: asyncpg.Pool, clock: DatabaseClock = database_clock) -> None:
        self._pool = pool
        self._clock = clock

    async def searched(self) -> SearchedRecovery | None:
        row = await self._pool.fetchrow(
            """
            SELECT id, since, begun_at FROM relay.recoveries
            WHERE state = 'open' AND search_until > coalesce($1, clock_timestamp())
            """,
            self._clock(),
        )
        return SearchedRecovery(**dict(row)) if row else None

    async def latest(self) -> Recovery | None:
        """Return the one that waits for an answer, else the last one."""
        row = await self._pool.fetchrow(
            f"SELECT {_RECOVERY} FROM relay.recoveries"  # noqa: S608 - constants
            " ORDER BY state = 'noticed' DESC, id DESC LIMIT 1"
        )
        return Recovery(**dict(row)) if row else None

    async def awaits_answer(self) -> bool:
        """Whether a service has noticed a restore, and no operator has answered yet."""
        found: bool = await self._pool.fetchval(
            "SELECT EXISTS (SELECT FROM relay.recoveries WHERE state = 'noticed')"
        )
        return found

    async def last_answered(self) -> int:
        """Return the id of the last one that an operator has answered. 0 without any."""
        answered: int = await self._pool.fetchval(
            "SELECT coalesce(max(id), 0) FROM relay.recoveries WHERE state <> 'noticed'"
        )
        return answered

    async def notice(
        self,
        service: str,
        reason: str,
        *,
        answered: int | None = None,
        admitted_at: datetime | None = None,
    ) -> None:
        """Record that this database is older than the work. Nobody works on until it is answered.

        Nothing changes when it was noticed before, or answered meanwhile: by a recovery after
        `answered`, or since `admitted_at`.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(_ONE_AT_A_TIME)
            await connection.execute(
                """
                INSERT INTO relay.recoveries (state, noticed_at, noticed_by, reason)
                SELECT 'noticed', coalesce($3, clock_timestamp()), $1, $2
                WHERE NOT EXISTS (
                    SELECT FROM relay.recoveries
                    WHERE state = 'noticed' OR id > $4 OR coalesce(begun_at, ended_at) > $5)
                """,
                service,
                reason,
                self._clock(),
                answered,
                admitted_at,
            )

    async def begin(self, since: datetime, *, search_s: float, by: str) -> Recovery:
        """Begin one. It answers what was noticed, and takes the place of one that is open.

        Then the earlier `since` of the two counts, because nothing says that the former search
        was finished.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(_ONE_AT_A_TIME)
            former = await connection.fetchval(
                """
                UPDATE relay.recoveries SET state = 'ended', ended_by = $1,
                                            ended_at = coalesce($2, clock_timestamp())
                WHERE state = 'open' RETURNING since
                """,
                by,
                self._clock(),
            )
            noticed = await connection.fetchrow(
                """
                DELETE FROM relay.recoveries WHERE state = 'noticed'
                RETURNING noticed_at, noticed_by, reason
                """
            )
            row = await connection.fetchrow(
                f"""
                INSERT INTO relay.recoveries
                    (state, since, begun_at, begun_by, search_until, noticed_at, noticed_by, reason)
                SELECT 'open', $1, at, $3, at + make_interval(secs => $2), $5, $6, $7
                FROM coalesce($4, clock_timestamp()) AS at
                RETURNING {_RECOVERY}
                """,  # noqa: S608 - constants
                since if former is None else min(since, former),
                search_s,
                by,
                self._clock(),
                *(noticed or (None, None, None)),
            )
        return Recovery(**dict(row))  # type: ignore[arg-type]  # an INSERT always returns its row

    async def not_needed(self, by: str) -> bool:
        """Answer that nothing is missing. Returns whether that was asked."""
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(_ONE_AT_A_TIME)
            noticed = await connection.fetchrow(
                """
                DELETE FROM relay.recoveries WHERE state = 'noticed'
                RETURNING noticed_at, noticed_by, reason
                """
            )
            # As a new row: a recovery that was open before it stays the older answer.
            await connection.execute(
                """
                INSERT INTO relay.recoveries
                    (state, ended_at, ended_by, noticed_at, noticed_by, reason)
                VALUES ('not_needed', coalesce($1, clock_timestamp()), $2, $3, $4, $5)
                """,
                self._clock(),
                by,
                *(noticed or (None, None, None)),
            )
        return noticed is not None

    async def end(self, by: str) -> bool:
        """End the open one, whatever is still looked for. Returns whether there was one.

        An intent that is presumed already stays, and is looked for when its message comes back.
        """
        tag: str = await self._pool.execute(
            """
            UPDATE relay.recoveries SET state = 'ended', ended_by = $1,
                                        ended_at = coalesce($2, clock_timestamp())
            WHERE state = 'open'
            """,
            by,
            self._clock(),
        )
        return tag == "UPDATE 1"

    async def end_settled(self) -> bool:
        """End the open one once its search time is over and all that was looked for is settled."""
        tag: str = await self._pool.execute(
            """
            UPDATE relay.recoveries r
            SET state = 'ended', ended_by = 'all is settled',
                ended_at = coalesce($1, clock_timestamp())
            WHERE state = 'open' AND search_until <= coalesce($1, clock_timestamp())
              AND NOT EXISTS (SELECT FROM relay.effects e
                              WHERE e.recovery = r.id AND e.state IN ('intended', 'unknown'))
            """,
            self._clock(),
        )
        return tag == "UPDATE 1"


@dataclass(frozen=True, slots=True)
class Mark:
    """The mark of a schema. `recovery`: the last answered one that it has taken account of."""

    mark: int
    recovery: int


class Marks:
    """The mark of one schema."""

    def __init__(self, pool: asyncpg.Pool, schema: str) -> None:
        self._pool = pool
        self._schema = schema

    async def read(self) -> Mark | None:
        row = await self._pool.fetchrow(
            "SELECT mark, recovery FROM relay.marks WHERE schema = $1", self._schema
        )
        return Mark(**dict(row)) if row else None

    async def set_above(self, mark: int, *, recovery: int) -> tuple[int, datetime]:
        """Raise the mark above `mark` and above its own. Returns the new one, and the time."""
        raised = await self._pool.fetchrow(
            """
            INSERT INTO relay.marks AS m (schema, mark, moved_at, recovery)
            VALUES ($1, $2 + 1, clock_timestamp(), $3)
            ON CONFLICT (schema) DO UPDATE
            SET mark = greatest(m.mark, $2) + 1, moved_at = clock_timestamp(),
                recovery = greatest(m.recovery, $3)
            RETURNING mark, moved_at
            """,
            self._schema,
            mark,
            recovery,
        )
        assert raised is not None  # noqa: S101 - it is inserted or updated
        return raised["mark"], raised["moved_at"]

    async def move(self) -> int | None:
        """Raise the mark by one and return it. None when it is gone."""
        moved: int | None = await self._pool.fetchval(
            """
            UPDATE relay.marks SET mark = mark + 1, moved_at = clock_timestamp()
            WHERE schema = $1 RETURNING mark
            """,
            self._schema,
        )
        return moved
