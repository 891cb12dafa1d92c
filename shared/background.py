"""Run tasks in the background, and end them for good."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

_AGAIN_S: Final = 2.0


class Background(ABC):
    """Runs `_run` as a task while its context is entered. Leaving the context cancels the task."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._task: asyncio.Task[None] | None = None

    @abstractmethod
    async def _run(self) -> None:
        """Run until cancelled, or done. What it raises is raised where the context is left."""

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name=self._name)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await ended(self._task)


async def ended(task: asyncio.Task[Any] | None) -> None:
    """Cancel the task, and return once it has ended. Raises its error, cancellation excepted.

    A task that goes on is cancelled again: `asyncio.wait_for` (until Python 3.12) and aiormq's
    closing of a channel swallow a cancellation that comes just as something else is done.
    """
    if task is None:
        return
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_AGAIN_S)
    with suppress(asyncio.CancelledError):
        task.result()
