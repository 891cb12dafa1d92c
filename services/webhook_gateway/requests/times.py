"""Parse times as Zoho writes them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

# Seconds reach this in the year 5138, milliseconds did in 1973.
_MILLISECONDS_FROM = 100_000_000_000


def seconds(value: float) -> float:
    """Return a Unix time in seconds, whether the value is in seconds or in milliseconds."""
    return value / 1000 if abs(value) >= _MILLISECONDS_FROM else value


def moment(value: Any) -> datetime | None:
    """Parse `2026-01-31T10:00:00-0700`, or Unix time. None when it is no moment.

    A time without an offset is none: it is in the organization's zone, which is not known here.
    """
    if isinstance(value, str) and not value.strip().isdigit():
        return _from_text(value.strip())
    try:
        return datetime.fromtimestamp(seconds(float(value)), UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _from_text(text: str) -> datetime | None:
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else None
