"""Ending tasks for good."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final

_AGAIN_S: Final = 2.0


async def ended(task: asyncio.Task[Any] | None) -> None:
    """Cancel the task, and return once it has ended. Raises what it ended with, if not that.

    It is cancelled again when it goes on: a cancellation that comes just as something else is done
    is swallowed by `asyncio.wait_for` (until Python 3.12) and by aiormq's closing of a channel.
    """
    if task is None:
        return
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_AGAIN_S)
    with suppress(asyncio.CancelledError):
        task.result()
