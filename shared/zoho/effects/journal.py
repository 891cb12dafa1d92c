"""All SQL of the effects journal. The rules that use it are in `effects.py`.

Every change of a row is conditional on its `number`: who holds an old number changes nothing.
Times are PostgreSQL's, so that replicas with different clocks agree on who may look when.
Tests pass a clock of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

import asyncpg

from shared.storage.clock import DatabaseClock, database_clock
from shared.storage.erased_users import refused_when_erased
from shared.storage.recoveries import SearchedRecovery

# So long after looking was allowed an intent still counts as open. What is being made is looked for
# well before. What is not has no message any more that would look, and would be open for ever.
_OPEN_FOR_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class EffectKey:
    """The name of what is made once: an operation for a thing of the application's (`user_id`)."""

    org: str
    operation: str
    business_id: str

    @property
    def context(self) -> str:
        return f"relay.effects.result:{self.org}:{self.operation}:{self.business_id}"


class EffectState(StrEnum):
    INTENDED = "intended"
    DONE = "done"
    CLEAR = "clear"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """A row of the journal. `look_in_s` is what remains until looking is allowed, never below 0.

    `presumed`: the intent stands for what may have been done before a restore. `recovery`: the
    last one in which that was presumed.
    """

    state: EffectState
    number: int
    look_in_s: float
    result: bytes | None
    owner: str | None
    intended_at: datetime
    presumed: bool
    recovery: int | None

    def is_anothers(self, owner: str | None) -> bool:
        """Whether it is, or may be, made for another user. What was surely not made is nobody's."""
        return (
            self.state is not EffectState.CLEAR
            and None not in (owner, self.owner)
            and owner != self.owner
        )


@dataclass(frozen=True, slots=True)
class Intent:
    """The number of an intent, and the mark of the schema as it was raised with it."""

    number: int
    mark: int | None


@dataclass(frozen=True, slots=True)
class OwnedEntry:
    """An entry of one user's. `result` is None while nobody knows whether it was done."""

    key: EffectKey
    result: bytes | None


class EffectsJournal:
    def __init__(self, pool: asyncpg.Pool, clock: DatabaseClock = database_clock) -> None:
        self._pool = pool
        self._clock = clock

    async def entry(self, key: EffectKey) -> JournalEntry | None:
        row = await self._pool.fetchrow(
            """
            SELECT state, number, result, owner, intended_at, presumed, recovery,
                   greatest(extract(epoch FROM look_after - coalesce($4, clock_timestamp())), 0)
                       ::float8
                       AS look_in_s
            FROM relay.effects WHERE org = $1 AND operation = $2 AND business_id = $3
            """,
            *_columns(key),
            self._clock(),
        )
        if row is None:
            return None
        return JournalEntry(**{**dict(row), "state": EffectState(row["state"])})

    async def of_owner(self, org: str, owner: str, product: str) -> list[OwnedEntry]:
        """All entries of a user's writes to a product that were, or may have been, done."""
        rows = await self._pool.fetch(
            """
            SELECT operation, business_id, result FROM relay.effects
            WHERE org = $1 AND owner = $2 AND product = $3 AND state <> 'clear'
            ORDER BY created_at, operation, business_id
            """,
            org,
            owner,
            product,
        )
        return [
            OwnedEntry(EffectKey(org, row["operation"], row["business_id"]), row["result"])
            for row in rows
        ]

    async def intend(
        self,
        key: EffectKey,
        *,
        product: str,
        owner: str | None,
        after: JournalEntry | None,
        write_s: float,
        look_s: float,
        schema: str = "",
    ) -> Intent | None:
        """Commit the intent to act. None when another has moved meanwhile.

        The mark of `schema` rises in the same statement. `after` is the entry that was read (None =
        no row). A result is replaced only when it was read with it. The request may be written for
        `write_s` from now. Nobody looks until `look_s` after that.

        Raises PermanentError: `erased`, its owner asked to be forgotten.
        """
        with refused_when_erased():
            row = await self._intend(key, product, owner, after, write_s, look_s, schema)
        return Intent(**dict(row)) if row else None

    async def _intend(
        self,
        key: EffectKey,
        product: str,
        owner: str | None,
        after: JournalEntry | None,
        write_s: float,
        look_s: float,
        schema: str,
    ) -> asyncpg.Record | None:
        return await self._pool.fetchrow(
            """
            WITH moved AS (
                UPDATE relay.marks SET mark = mark + 1, moved_at = clock_timestamp()
                WHERE schema = $11 RETURNING mark
            )
            INSERT INTO relay.effects AS e
                (org, operation, business_id, product, owner, number, write_until, look_after,
                 intended_at)
            SELECT $1, $2, $3, $4, $5, $6 + 1, at + make_interval(secs => $7),
                   at + make_interval(secs => $7 + $8), at
            FROM coalesce($9, clock_timestamp()) AS at
            ON CONFLICT (org, operation, business_id) DO UPDATE
            SET state = 'intended', number = e.number + 1, updated_at = now(), result = NULL,
                presumed = false, owner = coalesce(excluded.owner, e.owner),
                write_until = excluded.write_until, look_after = excluded.look_after,
                intended_at = excluded.intended_at
            WHERE e.number = $6 AND (e.state IN ('clear', 'intended') OR e.state = 'done' AND $10)
            RETURNING number, (SELECT mark FROM moved) AS mark
            """,
            *_columns(key),
            product,
            owner,
            after.number if after else 0,
            write_s,
            look_s,
            self._clock(),
            after is not None and after.state is EffectState.DONE,
            schema,
        )

    async def presume(
        self,
        key: EffectKey,
        *,
        product: str,
        owner: str | None,
        after: JournalEntry | None,
        recovery: SearchedRecovery,
        look_s: float,
    ) -> None:
        """Record that it may have been done before the restore, as an intent of that time.

        Nobody looks until `look_s` after the recovery began. `after` as in `intend`. Nothing
        changes when another has moved meanwhile.

        Raises PermanentError: `erased`, its owner asked to be forgotten.
        """
        with refused_when_erased():
            await self._presume(key, product, owner, after, recovery, look_s)

    async def _presume(
        self,
        key: EffectKey,
        product: str,
        owner: str | None,
        after: JournalEntry | None,
        recovery: SearchedRecovery,
        look_s: float,
    ) -> None:
        await self._pool.execute(
            """
            INSERT INTO relay.effects AS e
                (org, operation, business_id, product, owner, number, write_until, look_after,
                 intended_at, created_at, recovery, presumed)
            SELECT $1, $2, $3, $4, $5, $6 + 1, begun_at, begun_at + make_interval(secs => $10),
                   $7, $7, $9, true
            FROM (SELECT $8::timestamptz AS begun_at) b
            ON CONFLICT (org, operation, business_id) DO UPDATE
            SET state = 'intended', number = e.number + 1, updated_at = now(), presumed = true,
                owner = coalesce(excluded.owner, e.owner), result = NULL,
                recovery = excluded.recovery, recovery_found = false, recovery_calls = 0,
                write_until = excluded.write_until, look_after = excluded.look_after,
                intended_at = CASE e.state WHEN 'intended'
                              THEN least(e.intended_at, excluded.intended_at)
                              ELSE excluded.intended_at END
            WHERE e.number = $6
              AND (e.state IN ('clear', 'intended') OR e.state = 'done' AND $11)
            """,
            *_columns(key),
            product,
            owner,
            after.number if after else 0,
            recovery.since,
            recovery.begun_at,
            recovery.id,
            look_s,
            after is not None and after.state is EffectState.DONE,
        )

    async def looked(self, key: EffectKey, number: int, calls: int, *, found: bool) -> None:
        """Record what looking for a presumed one cost, and whether it was there."""
        await self._change(
            "recovery_calls = recovery_calls + $5, recovery_found = $6",
            key,
            number,
            calls,
            found,
            where="presumed",
        )

    async def begun_at(self, key: EffectKey) -> datetime | None:
        """Return when it was first intended. Nothing that it made is older."""
        begun: datetime | None = await self._pool.fetchval(
            """
            SELECT created_at FROM relay.effects
            WHERE org = $1 AND operation = $2 AND business_id = $3
            """,
            *_columns(key),
        )
        return begun

    async def intended_at(self, key: EffectKey) -> datetime | None:
        found: datetime | None = await self._pool.fetchval(
            """
            SELECT intended_at FROM relay.effects
            WHERE org = $1 AND operation = $2 AND business_id = $3
            """,
            *_columns(key),
        )
        return found

    async def done(self, key: EffectKey, number: int, result: bytes) -> bool:
        """Commit what was made. False: the row has moved on, and this is not its result."""
        return await self._change(
            "state = 'done', result = $5", key, number, result, where="state = 'intended'"
        )

    async def clear(self, key: EffectKey, number: int) -> None:
        """Close an intent whose request was surely not done."""
        await self._change("state = 'clear'", key, number, where="state = 'intended'")

    async def unanswered(self, key: EffectKey, number: int, look_s: float) -> None:
        """The request has been written and will not be written again: look `look_s` from now.

        Never later than what the intent says.
        """
        await self._change(
            "write_until = least(write_until, coalesce($6, clock_timestamp())), look_after ="
            " least(look_after, coalesce($6, clock_timestamp()) + make_interval(secs => $5))",
            key,
            number,
            look_s,
            self._clock(),
            where="state = 'intended'",
        )

    async def give_up(self, key: EffectKey, number: int) -> bool:
        return await self._change("state = 'unknown'", key, number, where="state = 'intended'")

    async def any_open(self, org: str, product: str | None) -> bool:
        found: bool = await self._pool.fetchval(
            """
            SELECT EXISTS (SELECT FROM relay.effects
                           WHERE org = $1 AND state = 'intended'
                             AND product = coalesce($2, product)
                             AND look_after > coalesce($4, clock_timestamp())
                                              - make_interval(secs => $3))
            """,
            org,
            product,
            _OPEN_FOR_S,
            self._clock(),
        )
        return found

    async def _change(
        self, assignments: str, key: EffectKey, number: int, *args: object, where: str
    ) -> bool:
        tag = await self._pool.execute(
            f"UPDATE relay.effects SET updated_at = now(), {assignments}"  # noqa: S608 - constants
            f" WHERE org = $1 AND operation = $2 AND business_id = $3 AND number = $4 AND {where}",
            *_columns(key),
            number,
            *args,
        )
        return bool(tag == "UPDATE 1")


def _columns(key: EffectKey) -> tuple[str, str, str]:
    return key.org, key.operation, key.business_id
