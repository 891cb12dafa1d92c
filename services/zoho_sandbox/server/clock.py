"""Format times as each Zoho product does. Days are those of the organization's time zone."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo


class Clock:
    """The organization's clock. `monotonic` is for limits and lags, the rest for records.

    `ahead_s`: by how much this clock is ahead of its clients' now.
    """

    def __init__(self, time_zone: str, ahead_s: Callable[[], float] = lambda: 0.0) -> None:
        self.time_zone = time_zone
        self._zone = ZoneInfo(time_zone)
        self._ahead_s = ahead_s

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self._ahead_s())

    def monotonic(self) -> float:
        return time.monotonic()

    def finance_time(self, at: datetime | None = None) -> str:
        """Format as Billing and Books do: `2016-06-05T02:30:08-0700`, no colon in the offset."""
        return self._local(at).strftime("%Y-%m-%dT%H:%M:%S%z")

    def crm_time(self, at: datetime | None = None) -> str:
        """Format as CRM does: `2016-06-05T02:30:08-07:00`, whole seconds, a colon in the offset."""
        return self._local(at).isoformat(timespec="seconds")

    def desk_time(self, at: datetime | None = None) -> str:
        """Format as Desk does: `2024-05-01T10:00:00.000Z`, UTC with milliseconds."""
        moment = (at or self.now()).astimezone(UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"

    def today(self) -> date:
        """Return the organization's present day, which UTC's may differ from."""
        return self._local(None).date()

    def seconds_to_midnight(self) -> float:
        """Return the time until the daily counters of Billing, Books and Desk restart."""
        local = self._local(None)
        midnight = (local + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        return (midnight - local).total_seconds()

    def _local(self, at: datetime | None) -> datetime:
        return (at or self.now()).astimezone(self._zone)
