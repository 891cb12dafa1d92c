"""Since when a service has been reading all of its queues."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable


class QueueUptime:
    """Which of these queues are being read, and since when.

    A message that waits for another must not be given up for the time in which that one may have
    stood in a queue that was paused, or that nobody read.
    """

    def __init__(self, queues: Iterable[str], now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._since: dict[str, float | None] = dict.fromkeys(queues)

    def begins(self, queue: str) -> None:
        self._since[queue] = self._now()

    def ends(self, queue: str) -> None:
        self._since[queue] = None

    def all_for_s(self) -> float:
        """For how many seconds all of them have been read without a break; 0 while one is not."""
        since = [each for each in self._since.values() if each is not None]
        if not since or len(since) < len(self._since):
            return 0.0
        return self._now() - max(since)
