"""Repeat what the database does not answer, until it does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog

from shared.errors import Unavailable
from shared.exponential_backoff import waits_s

_log = structlog.get_logger(__name__)

T = TypeVar("T")

_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 2.0
DATABASE_UNAVAILABLE: Final = "database_unavailable"


async def through_outage(operation: Callable[[], Awaitable[T]]) -> T:
    """Repeat until the database answers. An outage spends no attempts and loses no result.

    Raises:
        Unavailable: for another reason than the database.
    """
    reported = False
    pauses_s = waits_s(_FIRST_PAUSE_S, _LONGEST_PAUSE_S)
    while True:
        try:
            return await operation()
        except Unavailable as error:
            if error.code != DATABASE_UNAVAILABLE:
                raise  # a key that is missing: nothing that a moment cures
            if not reported:
                reported = True
                _log.warning("the database does not answer, trying again")
        await asyncio.sleep(next(pauses_s))
