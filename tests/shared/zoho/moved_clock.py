"""Give tests a clock that they move: what is asked of PostgreSQL is asked as of its time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from shared.zoho.call.http import Permit

_BEGIN = datetime(2026, 3, 2, 9, 1, tzinfo=UTC)


class MovedClock:
    """Stands still until a test moves it. It starts one minute into a quarter of an hour."""

    def __init__(self) -> None:
        self.time = _BEGIN

    def __call__(self) -> datetime:
        return self.time

    @property
    def seconds(self) -> float:
        """How far it was moved."""
        return (self.time - _BEGIN).total_seconds()

    def pass_by(self, *, seconds: float = 0, minutes: float = 0, hours: float = 0) -> None:
        self.time += timedelta(seconds=seconds, minutes=minutes, hours=hours)


class MovedPermit(Permit):
    """A permit whose last moment is one of the test's clock, in its seconds."""

    clock: MovedClock

    def write_within(self, seconds: float) -> None:
        self.write_until = min(self.write_until, self.clock.seconds + seconds)
