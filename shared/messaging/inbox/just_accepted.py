"""Remember for a moment what was parsed, so that the dispatcher need not do so again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from pydantic import BaseModel

KEPT_S: Final = 10.0
_MESSAGES: Final = 2048
_BYTES: Final = 4 * 1024 * 1024


class MessageIdentity(NamedTuple):
    """What says that a row is the message that was parsed.

    Its number alone does not: after the database was set back, another message may get it.
    """

    arrived: int
    org: str
    routing_key: str
    mac: bytes


class _Kept(NamedTuple):
    parsed: BaseModel
    size: int
    until: float


class JustAccepted:
    """The messages that were accepted here and are not leased yet, as their contract reads them.

    Bounded: what comes while it is full is not kept, but opened and parsed from its row. In a burst
    the oldest are leased first, so those are the ones to keep. What another replica has leased, or
    what stands behind others in its line, is forgotten after `KEPT_S`.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[MessageIdentity, _Kept] = {}
        self._bytes = 0
        self._forgetting: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, message: MessageIdentity, parsed: BaseModel, size: int) -> None:
        """Keep it for its first lease. `size`: of its body, in bytes."""
        self.take(message)
        if len(self._kept) < _MESSAGES and self._bytes + size <= _BYTES:
            self._kept[message] = _Kept(parsed, size, self._clock() + KEPT_S)
            self._bytes += size
            if self._forgetting is None:
                loop = asyncio.get_running_loop()
                self._forgetting = loop.call_later(KEPT_S, self._forget_old)

    def take(self, message: MessageIdentity) -> BaseModel | None:
        """What was kept of this message, once. None: read its row."""
        kept = self._kept.pop(message, None)
        if kept is None:
            return None
        self._bytes -= kept.size
        return kept.parsed if kept.until > self._clock() else None

    def _forget_old(self) -> None:
        self._forgetting = None
        now = self._clock()
        for message, kept in [*self._kept.items()]:
            if kept.until > now:
                loop = asyncio.get_running_loop()
                self._forgetting = loop.call_later(kept.until - now, self._forget_old)
                return
            self.take(message)
