"""Remember for a moment what was parsed, so that the dispatcher need not do so again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NamedTuple

from pydantic import BaseModel

_KEPT_S: Final = 10.0
_MESSAGES: Final = 2048
_BYTES: Final = 4 * 1024 * 1024


class _Kept(NamedTuple):
    mac: bytes
    parsed: BaseModel
    size: int
    until: float


class JustAccepted:
    """The messages that were accepted here and are not leased yet, as their contract reads them.

    Bounded: what comes while it is full is not kept, but opened and parsed from its row. In a burst
    the oldest are leased first, so those are the ones to keep. After some seconds what another
    replica has leased, or what stands behind others in its line, makes room.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[int, _Kept] = {}
        self._bytes = 0

    def keep(self, arrived: int, mac: bytes, parsed: BaseModel, size: int) -> None:
        """Keep it for its first lease. `size`: of its body, in bytes."""
        now = self._clock()
        self._forget_old(now)
        if len(self._kept) < _MESSAGES and self._bytes + size <= _BYTES:
            self._kept[arrived] = _Kept(mac, parsed, size, now + _KEPT_S)
            self._bytes += size

    def take(self, arrived: int, mac: bytes) -> BaseModel | None:
        """What was kept for this message, once. None: read its row.

        `mac`, of its body, tells it from another one that has its number because the database was
        set back.
        """
        kept = self._drop(arrived)
        return kept.parsed if kept is not None and kept.mac == mac else None

    def _forget_old(self, now: float) -> None:
        while self._kept:
            arrived, kept = next(iter(self._kept.items()))
            if kept.until > now:
                return
            self._drop(arrived)

    def _drop(self, arrived: int) -> _Kept | None:
        kept = self._kept.pop(arrived, None)
        if kept is not None:
            self._bytes -= kept.size
        return kept
