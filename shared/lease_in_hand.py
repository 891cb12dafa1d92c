"""Know until when the present task holds its lease, so that nothing is written to Zoho after that.

A process that stood still (frozen, out of memory, suspended) goes on where it was. Another one has
taken its lease meanwhile, and may have done the work, and later work of the same user too. A write
of the first one would come after those and undo them. PostgreSQL refuses it by the claim. Zoho
cannot, so the request is not written.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final


@dataclass
class LeaseInHand:
    """A lease as its holder knows it. `until` (`time.monotonic()`) moves when it is renewed.

    It is counted from before the lease was asked for, so that it ends here before it ends in
    PostgreSQL.
    """

    until: float


_ENDLESS: Final = LeaseInHand(math.inf)
_in_hand: ContextVar[LeaseInHand] = ContextVar("lease in hand", default=_ENDLESS)


@contextmanager
def holding(lease: LeaseInHand) -> Iterator[None]:
    """Do what is inside under this lease. Tasks that are started inside are under it too."""
    token = _in_hand.set(lease)
    try:
        yield
    finally:
        _in_hand.reset(token)


def write_until() -> float:
    """The last moment (`time.monotonic()`) to write. Infinite for work without a lease."""
    return _in_hand.get().until
