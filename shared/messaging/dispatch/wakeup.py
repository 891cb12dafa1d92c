"""Wake the dispatcher when a line may be due."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import Final

POLL_S: Final = 0.2
"""How soon a line is found that another replica, or the passing of time, has made due."""


class Wakeup:
    """Set by what this process accepts, commits and puts back. Nothing depends on it."""

    def __init__(self, poll_s: float = POLL_S) -> None:
        self._poll_s = poll_s
        self._event = asyncio.Event()

    def set(self) -> None:
        self._event.set()

    def set_after(self, delay_s: float) -> None:
        """Wake when a wait of this length is over."""
        asyncio.get_running_loop().call_later(delay_s, self._event.set)

    async def wait(self) -> None:
        """Return when woken, or after about `poll_s`."""
        with suppress(TimeoutError):
            # Spread out, so that replicas do not ask in step.
            async with asyncio.timeout(self._poll_s * random.uniform(0.8, 1.2)):  # noqa: S311
                await self._event.wait()
        self._event.clear()
