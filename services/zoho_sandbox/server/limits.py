"""Count quotas as Zoho does: by sliding minute, by day, and calls in flight.

Books documents its limits: 100 a minute (code 44), a number a day by plan (code 45), and calls in
flight (code 1070). Billing runs on the same platform. CRM counts credits in a rolling 24 h and has
a second, smaller concurrency for heavy calls. Desk counts credits by calendar day. The accounts
server issues 10 tokens in 10 minutes and keeps 10 alive for each refresh token.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any


class Refusal(enum.Enum):
    """The quota that refused a call."""

    MINUTE = "minute"
    DAY = "day"
    CONCURRENCY = "concurrency"


@dataclass(frozen=True)
class RateLimit:
    """A product's quotas. None means no limit. `rolling_s` makes the day a sliding window."""

    minute: int | None = None
    window_s: float = 60.0
    day: int | None = None
    reset_in_s: float | None = None
    rolling_s: float | None = None
    concurrency: int | None = None
    heavy_concurrency: int | None = None
    live_tokens: int = 10
    expires_in_s: int = 3600


DEFAULTS = {
    "accounts": RateLimit(minute=10, window_s=600.0),
    "billing": RateLimit(minute=100, day=10_000, concurrency=10),
    "books": RateLimit(minute=100, day=10_000, concurrency=10),
    "crm": RateLimit(day=100_000, rolling_s=86_400.0, concurrency=20, heavy_concurrency=10),
    "desk": RateLimit(day=100_000, concurrency=25),
}


class Meter:
    """The counts of one product."""

    def __init__(
        self, limit: RateLimit, now: Callable[[], float], to_midnight: Callable[[], float]
    ) -> None:
        self._now = now
        self._to_midnight = to_midnight
        self.set(limit)

    def set(self, limit: RateLimit) -> None:
        """Set new quotas and restart the counts."""
        self.limit = limit
        self.in_flight = 0
        self.heavy_in_flight = 0
        self.refused = dict.fromkeys(Refusal, 0)
        self.admitted = 0
        self._minute: deque[float] = deque()
        self._day: deque[tuple[float, int]] = deque()
        self._day_used = 0
        first_reset = limit.reset_in_s if limit.reset_in_s is not None else self._to_midnight()
        self._resets_at = self._now() + first_reset

    def admit(self, weight: int, *, heavy: bool = False) -> Refusal | None:
        """Count a call, or return the quota that refuses it. A refused call is not counted."""
        now = self._now()
        self._forget(now)
        refusal = self._refusal(weight, heavy=heavy)
        if refusal is not None:
            self.refused[refusal] += 1
            return refusal
        self._minute.append(now)
        self._day.append((now, weight))
        self._day_used += weight
        self.admitted += 1
        self.in_flight += 1
        self.heavy_in_flight += heavy
        return None

    def leave(self, *, heavy: bool = False) -> None:
        """Count a call as answered."""
        self.in_flight = max(0, self.in_flight - 1)
        self.heavy_in_flight = max(0, self.heavy_in_flight - heavy)

    def day_remaining(self) -> int | None:
        self._forget(self._now())
        return None if self.limit.day is None else max(0, self.limit.day - self._day_used)

    def day_resets_in_s(self) -> float:
        if self.limit.rolling_s is not None and self._day:
            return max(0.0, self._day[0][0] + self.limit.rolling_s - self._now())
        return max(0.0, self._resets_at - self._now())

    def as_json(self) -> dict[str, Any]:
        return {
            **asdict(self.limit),
            "admitted": self.admitted,
            "in_flight": self.in_flight,
            "minute_used": len(self._minute),
            "day_used": self._day_used,
            "refused": {refusal.value: count for refusal, count in self.refused.items()},
        }

    def _refusal(self, weight: int, *, heavy: bool) -> Refusal | None:
        limit = self.limit
        if limit.concurrency is not None and self.in_flight >= limit.concurrency:
            return Refusal.CONCURRENCY
        heavy_limit = limit.heavy_concurrency if heavy else None
        if heavy_limit is not None and self.heavy_in_flight >= heavy_limit:
            return Refusal.CONCURRENCY
        if limit.day is not None and self._day_used + weight > limit.day:
            return Refusal.DAY
        if limit.minute is not None and len(self._minute) >= limit.minute:
            return Refusal.MINUTE
        return None

    def _forget(self, now: float) -> None:
        while self._minute and self._minute[0] <= now - self.limit.window_s:
            self._minute.popleft()
        if self.limit.rolling_s is not None:
            while self._day and self._day[0][0] <= now - self.limit.rolling_s:
                self._day_used -= self._day.popleft()[1]
        elif now >= self._resets_at:
            self._day.clear()
            self._day_used = 0
            self._resets_at = now + self._to_midnight()


class RateLimits:
    """The meters of all products."""

    def __init__(self, now: Callable[[], float], to_midnight: Callable[[], float]) -> None:
        self._meters = {
            product: Meter(limit, now, to_midnight) for product, limit in DEFAULTS.items()
        }

    def __getitem__(self, product: str) -> Meter:
        return self._meters[product]

    def change(self, product: str, changes: dict[str, Any]) -> None:
        """Change quotas from the body that the admin API receives. Null lifts one.

        Raises: KeyError: no such product. ValueError: no such quota.
        """
        meter = self._meters[product]
        known = {field.name for field in fields(RateLimit)}
        if unknown := set(changes) - known:
            raise ValueError(f"unknown limit: {', '.join(sorted(unknown))}")
        meter.set(replace(meter.limit, **changes))

    def reset(self) -> None:
        for product, meter in self._meters.items():
            meter.set(DEFAULTS[product])

    def as_json(self) -> dict[str, Any]:
        return {product: meter.as_json() for product, meter in self._meters.items()}
