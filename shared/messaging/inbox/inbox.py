"""Which messages were seen, who has them, and where they stand in line. SQL of the inbox."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import NamedTuple

import asyncpg

from shared.messaging.batcher import Batcher
from shared.storage.pool import unavailable_when_down


class IdempotencyKey(NamedTuple):
    """The idempotency key of a message."""

    org: str
    routing_key: str
    message_id: str


class ClaimOutcome(StrEnum):
    """What a claim found. The names are those of `claim()` in 0001_messaging.sql."""

    CLAIMED = "claimed"
    DONE = "done"
    GIVEN_UP = "given_up"
    HELD = "held"
    IN_LINE = "in_line"
    REUSED = "reused"


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """A message that wants to be claimed. See `claim()` in 0001_messaging.sql.

    `macs`: of its body, under each key in use, in a row. `fallback`: its line when neither user_id
    nor what it names tells one. `replay`: the id of the replay that sent it.
    """

    key: IdempotencyKey
    source: str
    macs: bytes
    lined: bool = False
    user_id: str | None = None
    fallback: str | None = None
    named: tuple[tuple[str, str], ...] = ()
    names: tuple[tuple[str, str], ...] = ()
    replay: str | None = None
    exempt: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """What became of a request. `number` and `attempt` are 0 unless it is CLAIMED.

    `arrived` is the order of first arrival; `waited_s` the time since then. `erased`: it concerns a
    user who asked to be forgotten.
    """

    key: IdempotencyKey
    outcome: ClaimOutcome
    number: int = 0
    attempt: int = 0
    arrived: int = 0
    line: str | None = None
    lease_left_s: float | None = None
    waited_s: float = 0.0
    erased: bool = False


class ClaimRelease(NamedTuple):
    """A claim given back: `unspent`, the attempt does not count; `leave`, its place is free."""

    key: IdempotencyKey
    number: int
    unspent: bool
    leave: bool


class Inbox:
    """The inbox of one service's schema. All that wait at the same time share one statement.

    Every method raises `Unavailable` while the database is away.
    """

    def __init__(self, pool: asyncpg.Pool, schema: str, *, lease_s: float) -> None:
        self._pool = pool
        self._lease_s = lease_s
        self._claim_sql = (
            f"SELECT * FROM {schema}.claim($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13,"  # noqa: S608
            " $14, $15, $16, $17)"
        )
        self._oldest_sql = f"""
            SELECT extract(epoch FROM clock_timestamp() - min(first_seen_at))::float8
            FROM {schema}.inbox WHERE org = $1 AND place IS NOT NULL
            """  # noqa: S608
        self._release_sql = f"SELECT {schema}.release($1, $2, $3, $4, $5, $6)"
        self._renew_sql = f"SELECT {schema}.renew($1, $2, $3, $4, $5)"
        self._claims: Batcher[ClaimRequest, Claim] = Batcher("claim", self._claim, gather_s=0.002)
        self._releases: Batcher[ClaimRelease, None] = Batcher("release", self._release)

    async def claim(self, request: ClaimRequest) -> Claim:
        return await self._claims.run(request)

    async def release(self, release: ClaimRelease) -> None:
        """Give a claim back; nothing happens when it was lost."""
        await self._releases.run(release)

    async def renew(self, held: Sequence[tuple[IdempotencyKey, int]]) -> None:
        """Extend the leases of these claims, as far as they still hold."""
        ordered = sorted(held)
        with unavailable_when_down():
            await self._pool.execute(
                self._renew_sql,
                *columns([key for key, _ in ordered], 3),
                [number for _, number in ordered],
                self._lease_s,
            )

    async def _claim(self, group: list[ClaimRequest]) -> list[Claim]:
        named = [(at, *thing) for at, r in enumerate(group, 1) for thing in r.named]
        names = [(at, *thing) for at, r in enumerate(group, 1) for thing in r.names]
        with unavailable_when_down():
            rows = await self._pool.fetch(
                self._claim_sql,
                *columns([r.key for r in group], 3),
                [r.source for r in group],
                [r.macs for r in group],
                [r.lined for r in group],
                [r.user_id for r in group],
                [r.fallback for r in group],
                [r.replay for r in group],
                [r.exempt for r in group],
                *columns(named, 3),
                *columns(names, 3),
                self._lease_s,
            )
        found = {row["item"]: _claim_of(group[row["item"] - 1].key, row) for row in rows}
        # A row that was pruned in the same moment: as good as held, so it is asked for again.
        return [
            found.get(at) or Claim(request.key, ClaimOutcome.HELD)
            for at, request in enumerate(group, 1)
        ]

    async def oldest_in_line_s(self, org: str) -> float:
        """Seconds since the oldest command of a line was first seen; 0 when all lines are empty."""
        with unavailable_when_down():
            age: float | None = await self._pool.fetchval(self._oldest_sql, org)
        return age or 0.0

    async def _release(self, group: list[ClaimRelease]) -> list[None]:
        ordered = sorted(group)
        with unavailable_when_down():
            await self._pool.execute(
                self._release_sql,
                *columns([r.key for r in ordered], 3),
                [r.number for r in ordered],
                [r.unspent for r in ordered],
                [r.leave for r in ordered],
            )
        return [None] * len(group)


def columns(rows: Sequence[tuple[object, ...]], width: int) -> list[list[object]]:
    """Rows as parallel arrays, for unnest; `width` empty ones when there are no rows."""
    flat = list(chain.from_iterable(rows))
    return [flat[at::width] for at in range(width)]


def _claim_of(key: IdempotencyKey, row: asyncpg.Record) -> Claim:
    _, outcome, number, attempt, arrived, line, lease_left_s, waited_s, erased = row
    return Claim(
        key,
        ClaimOutcome(outcome),
        number or 0,
        attempt or 0,
        arrived,
        line,
        lease_left_s,
        waited_s,
        erased,
    )
