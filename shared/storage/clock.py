"""Name the clock by which PostgreSQL compares times: its own, or one that a test moves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

# The moment to pass to a statement. None: PostgreSQL reads its own clock.
DatabaseClock = Callable[[], datetime | None]


def database_clock() -> datetime | None:
    """PostgreSQL's own clock, which all replicas share."""
    return None
