"""Know when the command in hand says that it happened, however deep in the work the question is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime

_in_hand: ContextVar[datetime | None] = ContextVar("business time", default=None)


@contextmanager
def happened_at(occurred_at: datetime | None) -> Iterator[None]:
    """Do what is inside for a command that happened then. None: it does not say."""
    token = _in_hand.set(occurred_at)
    try:
        yield
    finally:
        _in_hand.reset(token)


def business_time() -> datetime | None:
    """Return when the command in hand happened. None when it does not say, or there is none."""
    return _in_hand.get()
