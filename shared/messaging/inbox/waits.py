"""End the waits that nothing ends, and wake what waits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from shared.messaging.inbox.lines import LeasedMessage, leased_message
from shared.messaging.inbox.statements import columns, parameters
from shared.storage.clock import DatabaseClock, database_clock
from shared.storage.pool import unavailable_when_down

_COUNTED_AT_ONCE: Final = 500

BehindSince = Callable[[str], Awaitable[datetime | None]]
"""The moment since which whoever records a kind of fact, other than by a message, is behind in an
organization. None when all is recorded."""


@dataclass(frozen=True, slots=True)
class WaitHolds:
    """What keeps the ends of waits from counting now.

    Args:
        intake_behind: what would end a wait may not be accepted yet.
        paused: organizations and kinds of facts whose product is paused.
        behind: organizations and kinds of facts whose recorder is behind, and since when. It holds
            the waits that began after that.
        same_line: kinds that are only recorded by messages of the waiting message's own line.
    """

    intake_behind: bool = False
    paused: Collection[tuple[str, str]] = ()
    behind: Collection[tuple[str, str, datetime]] = ()
    same_line: Collection[str] = ()


class WaitEnds:
    """The ends of waits of one service's schema.

    `longest`: after so many times its length a wait ends, counted or not, unless a message that
    arrived before may record the fact.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        schema: str,
        *,
        longest: float = 10.0,
        claim_s: float = 60.0,
        clock: DatabaseClock = database_clock,
    ) -> None:
        self._pool = pool
        self._longest = longest
        self._claim_s = claim_s
        self._clock = clock
        self._count_sql = f"""
            SELECT m.*, m.priority AS message_priority, false AS alone,
                   m.line LIKE 'user:%' AND EXISTS (
                       SELECT FROM relay.tombstones t
                       WHERE t.org = m.org AND t.user_id = substring(m.line FROM 6)) AS erased,
                   m.counted_s AS waited_s, m.place = 0 AS first
            FROM {schema}.count_waits({parameters(11)}) m
            """  # noqa: S608

    async def end_due(self, holds: WaitHolds, *, limit: int = 500) -> list[LeasedMessage]:
        """Count the waits that are due to be counted. Returns those that are over, to be given up.

        Each has a claim, and the code and reason to give it up under. A body beyond 4 KiB comes
        empty: `Lines.body` has it. Not settled within `claim_s`, it is returned again. Call it
        every second or so, in any number of replicas.
        It stops when at least `limit` are over: then there may be more.

        Raises Unavailable.
        """
        ended: list[LeasedMessage] = []
        while len(ended) < limit:
            with unavailable_when_down():
                rows = await self._pool.fetch(
                    self._count_sql,
                    holds.intake_behind,
                    *columns([*holds.paused], 2),
                    *columns([*holds.behind], 3),
                    [*holds.same_line],
                    self._longest,
                    _COUNTED_AT_ONCE,
                    self._claim_s,
                    self._clock(),
                )
            ended += [leased_message(row) for row in rows if row["is_over"]]
            if len(rows) < _COUNTED_AT_ONCE:
                break
        return ended
