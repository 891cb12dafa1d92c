"""Wake the dispatcher when a line may be due."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import Final

from shared.background import in_step_s

POLL_S: Final = 0.2
"""How soon a line is found that another replica, or the passing of time, has made due."""

IDLE_POLL_S: Final = 1.0
"""About how soon the first message is found that another replica has accepted and left."""


class Wakeup:
    """Set by what this process accepts, commits and puts back. Nothing depends on it."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    @property
    def is_set(self) -> bool:
        """Whether something may be due that was not asked for yet."""
        return self._event.is_set()

    def set(self) -> None:
        self._event.set()

    def set_after(self, delay_s: float) -> None:
        """Wake when a wait of this length is over."""
        asyncio.get_running_loop().call_later(delay_s, self._event.set)

    async def wait(self, *, idle: bool = False) -> bool:
        """Return True when woken, False when it is time to ask. `idle`: nothing is open."""
        # Spread out, so that replicas do not ask in step.
        poll_s = in_step_s(IDLE_POLL_S) if idle else POLL_S * random.uniform(0.8, 1.2)  # noqa: S311
        with suppress(TimeoutError):
            async with asyncio.timeout(poll_s):
                await self._event.wait()
        woken = self._event.is_set()
        self._event.clear()
        return woken
