"""Run tasks in the background, repeat periodic work, and end tasks for good."""

from __future__ import annotations

import asyncio
import math
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

import structlog

from shared.errors import IntegrationError
from shared.exponential_backoff import jittered_s
from shared.observability import logs

_log = structlog.get_logger(__name__)

_AGAIN_S: Final = 2.0
_TOGETHER_S: Final = 1.0
_LATE: Final = 0.2  # of _TOGETHER_S: how much later than asked for a pause may end
# Other processes wake at other moments.
_PHASE_S: Final = random.random()  # noqa: S311


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


class PeriodicTask(Background):
    """Runs `_run_once` every `every_s` seconds while its context is entered.

    `jitter`: the pauses are uneven, and there is one before the first round, so that replicas take
    turns.
    """

    def __init__(self, name: str, *, every_s: float, jitter: bool = False) -> None:
        super().__init__(name)
        self._every_s = every_s
        self._jitter = jitter

    @abstractmethod
    async def _run_once(self) -> bool:
        """Do one round. Returns whether there is more to do right now, without a pause."""

    async def _run(self) -> None:
        if self._jitter:
            await asyncio.sleep(jittered_s(self._every_s))
        await repeat(self._name, self._run_once, every_s=self._every_s, jitter=self._jitter)


async def repeat(
    name: str,
    work: Callable[[], Awaitable[bool]],
    *,
    every_s: float,
    jitter: bool = False,
    stop: asyncio.Event | None = None,
) -> None:
    """Call `work` again and again, until `stop` is set or the task is cancelled.

    `work` returns whether there is more to do right now. Otherwise, and after an error, which is
    only logged, there is a pause of `every_s` seconds. `stop` ends a pause at once, and work under
    way is finished first.
    """
    while stop is None or not stop.is_set():
        more = False
        try:
            more = await work()
        except (Exception, asyncio.CancelledError) as error:
            if is_cancelled():
                raise
            _report(name, error)
        if is_cancelled():  # and what was awaited swallowed it
            return
        if not more:
            await wait_for(stop, in_step_s(jittered_s(every_s) if jitter else every_s))


def in_step_s(pause_s: float) -> float:
    """Shorten a pause by 0.8 s at most, or lengthen it by 0.2 s, so that it ends with others.

    To be woken costs an idle process as much as what it then does, so what it does about once a
    second it does at the same moments. Pauses under a second stay as they are.
    """
    if pause_s < _TOGETHER_S:
        return pause_s
    now = time.monotonic()
    moment = math.floor((now + pause_s - _PHASE_S) / _TOGETHER_S + _LATE)
    return moment * _TOGETHER_S + _PHASE_S - now


async def wait_for(event: asyncio.Event | None, timeout_s: float) -> bool:
    """Return whether the event was set within `timeout_s` seconds. None is never set."""
    if event is None:
        await asyncio.sleep(timeout_s)
        return False
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
    return event.is_set()


def is_cancelled() -> bool:
    """Whether the running task itself is being cancelled.

    aiormq cancels whatever waits for a channel that closes. That is no cancellation of ours.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _report(name: str, error: BaseException) -> None:
    # An error of our tree is expected, and passes. Any other is a mistake of ours.
    log = _log.warning if isinstance(error, IntegrationError) else _log.error
    log("periodic work failed", task=name, **logs.describe(error))


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
