"""Disturb a running system in the ways that a command's order has to survive."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from deploy.local.stack import Stack

Upheaval = Callable[[Stack, "list[tuple[str, int]]"], AbstractAsyncContextManager[None]]
"""Entered before the commands are published, left when they have to go on by themselves."""

_AWAY_S = 6.0


@asynccontextmanager
async def quiet(_stack: Stack, _replicas: list[tuple[str, int]]) -> AsyncIterator[None]:
    """Nothing happens."""
    yield


@asynccontextmanager
async def postgresql_away(stack: Stack, _replicas: list[tuple[str, int]]) -> AsyncIterator[None]:
    """PostgreSQL is away while the commands come, and six seconds longer."""
    await asyncio.to_thread(stack.stop_process, "postgres")
    yield
    await asyncio.sleep(_AWAY_S)
    await asyncio.to_thread(stack.start_process, "postgres")


@asynccontextmanager
async def rabbitmq_restarts(stack: Stack, _replicas: list[tuple[str, int]]) -> AsyncIterator[None]:
    """RabbitMQ stops as soon as it has confirmed the commands, and comes back."""
    yield
    await asyncio.to_thread(stack.stop_process, "rabbitmq")
    await asyncio.to_thread(stack.start_process, "rabbitmq")


@asynccontextmanager
async def killed(stack: Stack, replicas: list[tuple[str, int]]) -> AsyncIterator[None]:
    """The first replica of each worker is killed while the commands come."""
    kills = [asyncio.create_task(_kill_soon(stack, *replica)) for replica in replicas]
    yield
    await asyncio.gather(*kills)


@asynccontextmanager
async def frozen(stack: Stack, replicas: list[tuple[str, int]]) -> AsyncIterator[None]:
    """The first replica of each worker stands still, connections open, for longer than a lease."""
    pids = [pid for replica in replicas if (pid := stack.pid(*replica)) is not None]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
        await asyncio.sleep(_AWAY_S)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def _kill_soon(stack: Stack, service: str, n: int) -> None:
    await asyncio.sleep(0.05)
    pid = await asyncio.to_thread(stack.kill, service, n)
    await asyncio.to_thread(stack.wait_ready, service, n, not_pid=pid)
