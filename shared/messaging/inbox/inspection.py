"""Show what is open and what it waits for, and let operators end a wait or give a message up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from shared.storage.clock import DatabaseClock, database_clock
from shared.storage.deadlocks import repeated_after_deadlock
from shared.storage.pool import planned_anew, unavailable_when_down

GIVEN_UP_BY_HAND: Final = "given_up_by_operator"


@dataclass(frozen=True, slots=True)
class OpenMessage:
    """A message that is accepted and not settled.

    Args:
        waits_for: `turn`, `time`, `fact`, `look`, `person` or `release`.
        fact: kind and key. The key of a thing of Zoho's is a blind index.
        waiting_since, counted_s: of its present wait, and how much of that counts.
        ends_at: when the wait ends at the earliest. None: it has no end, or does not wait.
        leased: somebody works on it.
    """

    arrived: int
    org: str
    line: str
    routing_key: str
    message_id: str
    priority: int
    attempt: int
    waits_for: str
    code: str | None
    reason: str | None
    product: str | None
    fact: tuple[str, str] | None
    accepted_at: datetime
    due_at: datetime
    waiting_since: datetime | None
    counted_s: float
    ends_at: datetime | None
    leased: bool


@dataclass(frozen=True, slots=True)
class Intervention:
    """What an operator did to a message: `end_wait` or `give_up`."""

    arrived: int
    routing_key: str
    message_id: str
    action: str
    done_by: str
    done_at: datetime


class InboxInspection:
    """The open messages of one service's schema, for operators.

    Every method raises `Unavailable` during an outage.
    """

    def __init__(
        self, pool: asyncpg.Pool, schema: str, *, clock: DatabaseClock = database_clock
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._page_sql = f"""
            SELECT * FROM (
                SELECT m.arrived, m.org, m.line, m.routing_key, m.message_id, m.priority, m.attempt,
                       CASE WHEN m.state <> 'in_line' OR m.wait = 'release'
                                 OR m.wait IS NOT NULL AND m.due_at > n.now
                            THEN m.wait ELSE 'turn' END AS waits_for,
                       m.code, m.reason, m.product, m.fact_kind, m.fact_key, m.accepted_at,
                       m.due_at, m.waiting_since, m.counted_s,
                       CASE WHEN m.end_s IS NOT NULL THEN coalesce(m.counted_at, n.now)
                            + make_interval(secs => greatest(m.end_s - m.counted_s, 0)) END
                           AS ends_at,
                       EXISTS (SELECT FROM {schema}.lines l
                               WHERE l.org = m.org AND l.line = m.line
                                 AND l.leased_arrived = m.arrived) AS leased
                FROM {schema}.inbox m,
                     (SELECT coalesce($1, clock_timestamp()) AS now) n
                WHERE m.arrived > $2 AND ($3::text IS NULL OR m.org = $3)
                  AND ($4::text IS NULL OR m.line = $4)
                  AND ($5::text IS NULL OR m.fact_kind = $5)
                  AND ($6::text IS NULL OR m.routing_key = $6)
            ) o
            WHERE ($7::text IS NULL OR o.waits_for = $7) AND ($9::text IS NULL OR o.code = $9)
            ORDER BY o.arrived LIMIT $8
            """  # noqa: S608
        self._intervene_sql = f"SELECT {schema}.intervene($1, $2, $3, $4, $5, $6)"
        self._interventions_sql = f"""
            SELECT arrived, routing_key, message_id, action, done_by, done_at
            FROM {schema}.interventions ORDER BY id DESC LIMIT $1
            """  # noqa: S608

    async def page(
        self,
        *,
        org: str | None = None,
        line: str | None = None,
        waits_for: str | None = None,
        fact_kind: str | None = None,
        routing_key: str | None = None,
        code: str | None = None,
        after: int = 0,
        limit: int = 50,
    ) -> list[OpenMessage]:
        """The open messages that match, oldest first. `after`: the last `arrived` seen."""
        with unavailable_when_down():
            async with planned_anew(self._pool) as connection:
                rows = await connection.fetch(
                    self._page_sql,
                    self._clock(),
                    after,
                    org,
                    line,
                    fact_kind,
                    routing_key,
                    waits_for,
                    limit,
                    code,
                )
        return [_open_message(row) for row in rows]

    async def end_wait(self, arrived: int, *, by: str) -> bool:
        """Let it look once more, now. False: it is not open, or somebody works on it."""
        return await self._intervene(arrived, "end_wait", by)

    async def give_up(self, arrived: int, *, by: str) -> bool:
        """Let the service give it up. False: it is not open, or somebody works on it."""
        return await self._intervene(arrived, "give_up", by)

    async def interventions(self, limit: int = 50) -> Sequence[Intervention]:
        """What operators did, the latest first."""
        with unavailable_when_down():
            rows = await self._pool.fetch(self._interventions_sql, limit)
        return [Intervention(**row) for row in rows]

    async def _intervene(self, arrived: int, action: str, by: str) -> bool:
        why = (GIVEN_UP_BY_HAND, "an operator gave it up")
        with unavailable_when_down():
            done: bool = await repeated_after_deadlock(
                lambda: self._pool.fetchval(
                    self._intervene_sql, arrived, action, by, *why, self._clock()
                )
            )
        return done


def _open_message(row: asyncpg.Record) -> OpenMessage:
    fields = dict(row)
    kind, key = fields.pop("fact_kind"), fields.pop("fact_key")
    return OpenMessage(**fields, fact=(kind, key) if kind is not None else None)
