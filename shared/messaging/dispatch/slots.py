"""Share a process's slots among the priorities."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Final

from shared.messaging.handling.routes import MessagePriority

# Of 32 slots: what no other priority may take. The urgent find a free slot at once, and the others
# go on, however many of the urgent wait.
_KEPT_OF_32: Final[Mapping[MessagePriority, int]] = {
    MessagePriority.PAYMENTS: 4,
    MessagePriority.COMMANDS: 4,
    MessagePriority.READS: 2,
    MessagePriority.BACKFILL: 1,
}


class Slots:
    """How many messages a process works on at once, in all and of each priority."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._kept = {priority: kept * total // 32 for priority, kept in _KEPT_OF_32.items()}
        self._taken: Counter[MessagePriority] = Counter()
        self._freed = asyncio.Event()

    @property
    def taken(self) -> int:
        return self._taken.total()

    @property
    def free(self) -> int:
        return self._total - self.taken

    def shares(self) -> dict[int, int]:
        """How many more messages of each priority may be taken now."""
        return {int(priority): self._share(priority) for priority in MessagePriority}

    def _share(self, priority: MessagePriority) -> int:
        kept_for_others = sum(
            max(0, kept - self._taken[other])
            for other, kept in self._kept.items()
            if other is not priority
        )
        return max(0, self.free - kept_for_others)

    def take(self, priority: int) -> None:
        self._taken[MessagePriority(priority)] += 1

    def give_back(self, priority: int) -> None:
        self._taken[MessagePriority(priority)] -= 1
        self._freed.set()

    async def freed(self) -> None:
        """Return once a slot was freed since the last call."""
        await self._freed.wait()
        self._freed.clear()
