"""A clock that tests move: what they ask of PostgreSQL is asked as of its time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class MovedClock:
    """Stands still until a test moves it. It starts one minute into a quarter of an hour."""

    def __init__(self) -> None:
        self.time = datetime(2026, 3, 2, 9, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def pass_by(self, *, seconds: float = 0, minutes: float = 0, hours: float = 0) -> None:
        self.time += timedelta(seconds=seconds, minutes=minutes, hours=hours)
