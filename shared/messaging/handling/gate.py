"""Declare a gate: work that needs what is behind it pauses while it is closed."""

from __future__ import annotations

import asyncio
from typing import Protocol


class Gate(Protocol):
    """A breaker seen from a queue. Closed means: nothing taken from this queue can succeed now."""

    def is_open(self) -> bool:
        """True while messages of this queue can be handled."""

    async def opened(self) -> None:
        """Return once the gate is open (at once when it is)."""

    async def closed(self) -> None:
        """Return once the gate is closed (at once when it is)."""


class SimpleGate:
    """A gate that is opened and closed by hand. Open at first. Tests and operators use it."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._shut = asyncio.Event()
        self._open.set()

    def is_open(self) -> bool:
        return self._open.is_set()

    def open(self) -> None:
        self._shut.clear()
        self._open.set()

    def close(self) -> None:
        self._open.clear()
        self._shut.set()

    async def opened(self) -> None:
        await self._open.wait()

    async def closed(self) -> None:
        await self._shut.wait()
