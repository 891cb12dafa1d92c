"""Run a service's process from its start to its end.

    runtime.run("billing-worker", Settings.load, main)

`main(settings, stop)` runs until `stop` is set, then drains and returns.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import IntEnum
from typing import Final, NoReturn, TypeVar

import structlog
import uvloop

from shared.environment import SettingsError
from shared.errors import CannotStart, StoppedBeforeStart
from shared.observability import logs
from shared.settings import Observability

S = TypeVar("S", bound=Observability)

_BUILT_S: Final = 5.0
_NEW_OBJECTS: Final = 10_000
_MMAP_THRESHOLD: Final = -3  # of glibc's mallopt(3)
_LARGE_BLOCK_BYTES: Final = 256 * 1024


class Exit(IntEnum):
    """Exit codes. A supervisor starts the process again, except after `SETTINGS`."""

    OK = 0
    FAILED = 1
    SETTINGS = 2  # or another reason that a person has to remove before a start can succeed
    KILLED = 130  # a second signal: the drain was cut short


def run(
    service: str,
    load_settings: Callable[[], S],
    main: Callable[[S, asyncio.Event], Awaitable[None]],
) -> NoReturn:
    """Run `main` until SIGTERM or SIGINT, and end the process with a code of `Exit`."""
    try:
        settings = load_settings()
    except SettingsError as error:
        _complain(service, *error.problems)
        sys.exit(Exit.SETTINGS)
    logs.configure(service, settings.log_level)
    give_large_blocks_back()
    try:
        code = uvloop.run(_supervise(settings, main))
    except CannotStart as error:
        _complain(service, f"{error.reason} ({error.code})")
        code = Exit.SETTINGS
    sys.exit(code)


def collect_less_often() -> None:
    """Have the garbage collector leave alone what exists now, and look at the rest less often.

    A service's parts stay as long as it runs. Without this the collector walks all of them again
    and again while messages come in, an eighth of the work on each. It looks for cycles alone:
    what nothing refers to is freed at once all the same.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, 10, 10)


def give_large_blocks_back() -> None:
    """Have the memory of a large message returned to the system as soon as nothing refers to it.

    By default glibc learns from the first one that is freed to keep such blocks in its heap, which
    then stays as large as it ever was. Other C libraries are left alone.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE_BLOCK_BYTES)


async def _supervise(settings: S, main: Callable[[S, asyncio.Event], Awaitable[None]]) -> Exit:
    log = structlog.get_logger()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop_or_exit, stop)
    log.info("service started")
    loop.call_later(_BUILT_S, collect_less_often)
    try:
        await main(settings, stop)
    except CannotStart:
        raise
    except StoppedBeforeStart:
        pass
    except Exception as error:
        log.critical("service failed", **logs.describe(error))
        return Exit.FAILED
    log.info("service stopped")
    return Exit.OK


def _complain(service: str, *problems: str) -> None:
    with suppress(OSError):  # the exit code says it too
        for problem in problems:
            print(f"{service}: {problem}", file=sys.stderr)


def _stop_or_exit(stop: asyncio.Event) -> None:
    if stop.is_set():
        os._exit(Exit.KILLED)  # asked twice: what hangs in the drain is abandoned
    stop.set()
