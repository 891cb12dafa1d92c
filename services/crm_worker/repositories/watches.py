"""Hold all SQL of watching CRM: the channel, how far contacts were compared, and who compares."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

import asyncpg

from shared.errors import Postponed
from shared.storage.retention import Rule

# As long as webhook ids are kept: what happened to a webhook can be looked up as long.
_KEPT_S = 190 * 86_400.0


@dataclass(frozen=True)
class Watch:
    """The state of watching, leased to this process. Times are PostgreSQL's.

    `is_due`: it is time to compare. `compared_to`: every change up to then was compared.
    `channel_expires_at` is None while there was never a channel. `channel_since`: since when the
    present one is open. `renewal_is_due`: it is time to open it, or to prolong it.
    """

    lease: int
    now: datetime
    compared_to: datetime
    is_due: bool
    channel_id: int
    channel_expires_at: datetime | None
    channel_since: datetime | None
    renewal_is_due: bool

    @property
    def has_channel(self) -> bool:
        return self.channel_expires_at is not None and self.channel_expires_at > self.now

    @property
    def has_gap(self) -> bool:
        """Whether there was a time without a channel that was not compared yet."""
        return self.channel_since is not None and self.channel_since > self.compared_to


@dataclass(frozen=True)
class Comparison:
    """What was compared: the contacts modified between two times, and the changes found in them."""

    cause: Literal["gap", "round"]
    first: datetime
    last: datetime
    contacts: int
    changes: int


def retention() -> Rule:
    """Return how long it can be looked up what was compared."""
    return Rule(table="crm.comparisons", where="compared_at < $1", age_s=_KEPT_S)


class Watches:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def lease(
        self, org: str, *, lease_s: float, keeps_channel: bool, renew_now: bool
    ) -> Watch | None:
        """Lease what is due. None when nothing is, or another replica has it.

        `renew_now`: the channel is due, whatever was recorded. Its settings may have changed.
        """
        await self._pool.execute(
            """
            INSERT INTO crm.watches (org, compared_to, channel_id)
            VALUES ($1, clock_timestamp(), 1000000000000 + floor(random() * 1000000000000)::bigint)
            ON CONFLICT DO NOTHING
            """,
            org,
        )
        row = await self._pool.fetchrow(
            """
            UPDATE crm.watches
            SET lease = lease + 1, leased_until = clock_timestamp() + make_interval(secs => $2)
            WHERE org = $1 AND leased_until < clock_timestamp()
              AND (due_at <= clock_timestamp()
                   OR $3 AND ($4 OR renew_at <= clock_timestamp()))
            RETURNING lease, clock_timestamp() AS now, compared_to, channel_id, channel_expires_at,
                channel_since, due_at <= clock_timestamp() AS is_due,
                $3 AND ($4 OR renew_at <= clock_timestamp()) AS renewal_is_due
            """,
            org,
            lease_s,
            keeps_channel,
            renew_now,
        )
        return Watch(**row) if row else None

    async def record_channel(
        self, org: str, watch: Watch, *, expires_at: datetime, is_new: bool, renew_in_s: float
    ) -> Watch:
        """Record until when CRM announces changes, and when to prolong that. Returns the state.

        Raises:
            Postponed: the lease was lost, and nothing is recorded.
        """
        now: datetime | None = await self._pool.fetchval(
            """
            UPDATE crm.watches
            SET channel_expires_at = $3,
                channel_since = CASE WHEN $4 THEN clock_timestamp() ELSE channel_since END,
                renew_at = clock_timestamp() + make_interval(secs => $5)
            WHERE org = $1 AND lease = $2
            RETURNING clock_timestamp()
            """,
            org,
            watch.lease,
            expires_at,
            is_new,
            renew_in_s,
        )
        if now is None:
            raise Postponed("another replica watches CRM by now", retry_after_s=0.0)
        since = now if is_new else watch.channel_since
        return replace(watch, now=now, channel_expires_at=expires_at, channel_since=since)

    async def postpone_renewal(self, org: str, watch: Watch, *, after_s: float) -> None:
        """Try the channel again in `after_s` seconds."""
        await self._pool.execute(
            """
            UPDATE crm.watches SET renew_at = clock_timestamp() + make_interval(secs => $3)
            WHERE org = $1 AND lease = $2
            """,
            org,
            watch.lease,
            after_s,
        )

    async def record_compared(
        self, org: str, watch: Watch, comparison: Comparison, *, lease_s: float
    ) -> None:
        """Record that everything up to `last` was compared, and keep the lease."""
        await self._pool.execute(
            """
            WITH mine AS (
                UPDATE crm.watches
                SET compared_to = greatest(compared_to, $4),
                    leased_until = clock_timestamp() + make_interval(secs => $8)
                WHERE org = $1 AND lease = $2
                RETURNING org
            )
            INSERT INTO crm.comparisons (org, cause, first, last, contacts, changes)
            SELECT org, $5, $3, $4, $6, $7 FROM mine
            """,
            org,
            watch.lease,
            comparison.first,
            comparison.last,
            comparison.cause,
            comparison.contacts,
            comparison.changes,
            lease_s,
        )

    async def release(self, org: str, watch: Watch, *, again_in_s: float | None) -> None:
        """Give the lease back. `again_in_s`: when to compare next. None leaves that as it is."""
        await self._pool.execute(
            """
            UPDATE crm.watches
            SET leased_until = '-infinity',
                due_at = CASE WHEN $3::float8 IS NULL THEN due_at
                              ELSE clock_timestamp() + make_interval(secs => $3) END
            WHERE org = $1 AND lease = $2
            """,
            org,
            watch.lease,
            again_in_s,
        )

    async def compared_age_s(self, org: str) -> float:
        """Return how many seconds ago everything was compared. 0 before the first time."""
        age = await self._pool.fetchval(
            """
            SELECT extract(epoch FROM clock_timestamp() - compared_to)::float8 FROM crm.watches
            WHERE org = $1
            """,
            org,
        )
        return age or 0.0

    async def channel_left_s(self, org: str) -> float:
        """Return how many seconds the channel has left. Negative once it has lapsed."""
        left = await self._pool.fetchval(
            """
            SELECT extract(epoch FROM channel_expires_at - clock_timestamp())::float8
            FROM crm.watches WHERE org = $1
            """,
            org,
        )
        return left or 0.0
