"""Forecast when the day's credits will be gone at the present pace, as a metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set

import asyncpg

from shared.storage.clock import DatabaseClock, database_clock
from shared.storage.pool import unavailable_when_down
from shared.zoho.quota.limits import QuotaLimits

# (organization, product, seconds)
ForecastObserver = Callable[[str, str, float], None]


class QuotaForecast:
    """Looks at the ledger when it is asked to. One per process.

    `called`: organizations and products that this process has called so far. `observe` is given the
    seconds until the day's credits are used up at the pace of the last half hour: 0 when they are,
    infinite when the reset comes first. Nothing is reported of a product whose limit is not known.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        limits: Mapping[str, QuotaLimits],
        *,
        called: Set[tuple[str, str]],
        observe: ForecastObserver,
        clock: DatabaseClock = database_clock,
    ) -> None:
        self._pool = pool
        self._limits = limits
        self._called = called
        self._observe = observe
        self._clock = clock

    async def refresh(self) -> None:
        """Raises Unavailable when the database is away."""
        with unavailable_when_down():
            for org, product in sorted(self._called):
                limits = self._limits[product]
                gone_in_s = await self._pool.fetchval(
                    "SELECT relay.quota_forecast($1, $2, $3, $4, $5)",
                    org,
                    product,
                    limits.credits,
                    limits.zone,
                    self._clock(),
                )
                if gone_in_s is not None:
                    self._observe(org, product, gone_in_s)
