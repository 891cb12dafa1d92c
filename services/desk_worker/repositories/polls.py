"""Hold all SQL of polling: how far Desk's changes were read, and which replica reads them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import asyncpg


@dataclass(frozen=True)
class PollWindow:
    """Changes to read, from `first` to `last`. Only the holder of `lease` may record it as read."""

    lease: int
    first: datetime
    last: datetime


class Polls:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def lease(self, org: str, *, overlap_s: float, lease_s: float) -> PollWindow | None:
        """Lease the window to read now. None when none is due, or another replica reads."""
        await self._pool.execute(
            """
            INSERT INTO desk.polls (org, polled_to) VALUES ($1, clock_timestamp())
            ON CONFLICT DO NOTHING
            """,
            org,
        )
        row = await self._pool.fetchrow(
            """
            UPDATE desk.polls
            SET lease = lease + 1, leased_until = clock_timestamp() + make_interval(secs => $3)
            WHERE org = $1 AND due_at <= clock_timestamp() AND leased_until < clock_timestamp()
            RETURNING lease, polled_to - make_interval(secs => $2) AS first,
                      clock_timestamp() AS last
            """,
            org,
            overlap_s,
            lease_s,
        )
        return PollWindow(row["lease"], row["first"], row["last"]) if row else None

    async def record_read(
        self, org: str, window: PollWindow, *, to: datetime, again_in_s: float
    ) -> None:
        """Record that everything up to `to` was read. The next window is due in `again_in_s`."""
        await self._pool.execute(
            """
            UPDATE desk.polls
            SET polled_to = greatest(polled_to, $3), leased_until = '-infinity',
                due_at = clock_timestamp() + make_interval(secs => $4)
            WHERE org = $1 AND lease = $2
            """,
            org,
            window.lease,
            to,
            again_in_s,
        )

    async def record_part(
        self, org: str, window: PollWindow, *, to: datetime, lease_s: float
    ) -> None:
        """Record that everything up to `to` was read, and go on reading for `lease_s` seconds."""
        await self._pool.execute(
            """
            UPDATE desk.polls
            SET polled_to = greatest(polled_to, $3),
                leased_until = clock_timestamp() + make_interval(secs => $4)
            WHERE org = $1 AND lease = $2
            """,
            org,
            window.lease,
            to,
            lease_s,
        )

    async def record_failed(self, org: str, window: PollWindow, *, again_in_s: float) -> None:
        """Release the window: nothing is lost, it is read again in `again_in_s`."""
        await self.record_read(org, window, to=window.first, again_in_s=again_in_s)
