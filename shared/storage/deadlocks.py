"""Repeat what PostgreSQL undid to resolve a deadlock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg

ResultT = TypeVar("ResultT")


async def repeated_after_deadlock(transaction: Callable[[], Awaitable[ResultT]]) -> ResultT:
    """Run one whole transaction, and again at once each time that it was undone by a deadlock.

    The other transaction goes on then, so the next time waits for its end. There is no limit:
    PostgreSQL looks for a deadlock only after a second of waiting (`deadlock_timeout`).
    """
    while True:
        try:
            return await transaction()
        except asyncpg.DeadlockDetectedError:
            continue
