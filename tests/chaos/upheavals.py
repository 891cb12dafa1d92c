"""Disturb a running system in the ways that a command's order has to survive."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final

import asyncpg

from deploy.local.stack import Stack

_AWAY_S = 6.0
_BROKER_NOTICES_S = 26.0  # two heartbeats of 8 s without an answer, noticed within a third
KILLS = 3


@dataclass
class Publishing:
    """How far the publisher is."""

    half_done: asyncio.Event = field(default_factory=asyncio.Event)
    done: asyncio.Event = field(default_factory=asyncio.Event)
    last_id: str = ""


Replicas = list[tuple[str, int]]
Upheaval = Callable[[Stack, Replicas, Publishing], AbstractAsyncContextManager[None]]
"""Entered before the commands are published, left when they have to go on by themselves."""


@asynccontextmanager
async def quiet(_stack: Stack, _replicas: Replicas, _: Publishing) -> AsyncIterator[None]:
    """Nothing happens."""
    yield


@asynccontextmanager
async def postgresql_away(stack: Stack, _replicas: Replicas, _: Publishing) -> AsyncIterator[None]:
    """PostgreSQL is away while the commands come, and six seconds longer."""
    await asyncio.to_thread(stack.stop_process, "postgres")
    yield
    await asyncio.sleep(_AWAY_S)
    await asyncio.to_thread(stack.start_process, "postgres")


@asynccontextmanager
async def rabbitmq_restarts(
    stack: Stack, _replicas: Replicas, publishing: Publishing
) -> AsyncIterator[None]:
    """RabbitMQ stops when it has confirmed half of the commands, and comes back."""

    async with _restarting(stack, "rabbitmq", publishing):
        yield


@asynccontextmanager
async def postgresql_restarts(
    stack: Stack, _replicas: Replicas, publishing: Publishing
) -> AsyncIterator[None]:
    """PostgreSQL stops in the middle of what is being done, and comes back."""
    async with _restarting(stack, "postgres", publishing):
        yield


@asynccontextmanager
async def _restarting(stack: Stack, server: str, publishing: Publishing) -> AsyncIterator[None]:
    async def restart() -> None:
        await publishing.half_done.wait()
        await asyncio.to_thread(stack.stop_process, server)
        await asyncio.to_thread(stack.start_process, server)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(restart())
        yield


@asynccontextmanager
async def killed(stack: Stack, replicas: Replicas, publishing: Publishing) -> AsyncIterator[None]:
    """The first replica of each worker is killed, again and again, while the commands come."""
    async with asyncio.TaskGroup() as tasks:
        for replica in replicas:
            tasks.create_task(_kill_often(stack, *replica, publishing))
        yield


@asynccontextmanager
async def frozen(stack: Stack, replicas: Replicas, _publishing: Publishing) -> AsyncIterator[None]:
    """The first replica of each worker stands still, connections open, for longer than a lease."""
    with _standing_still(stack, replicas):
        yield
        await asyncio.sleep(_AWAY_S)


@asynccontextmanager
async def hanging(stack: Stack, replicas: Replicas, publishing: Publishing) -> AsyncIterator[None]:
    """It stands still from the middle on, until another replica has its queue.

    Where there is no other: until the broker has taken the queue from it.
    """

    async def hang() -> None:
        await publishing.half_done.wait()
        with _standing_still(stack, replicas):
            await publishing.done.wait()
            if all(stack.pid(service, n + 1) for service, n in replicas):
                for service, _ in replicas:
                    await _accepted(stack, service, publishing.last_id)
            else:
                await asyncio.sleep(_BROKER_NOTICES_S)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(hang())
        yield


ALL: Final = (postgresql_away, rabbitmq_restarts, killed, hanging)
"""What a system must go through."""


@contextmanager
def _standing_still(stack: Stack, replicas: Replicas) -> Iterator[None]:
    pids = [pid for replica in replicas if (pid := stack.pid(*replica)) is not None]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def _accepted(stack: Stack, service: str, message_id: str) -> None:
    """Return once the worker has stored this command. Raises TimeoutError."""
    schema = service.removesuffix("-worker")
    connection = await asyncpg.connect(stack.env["DATABASE_URL"])
    try:
        async with asyncio.timeout(60):
            while not await connection.fetchval(  # noqa: ASYNC110 - another process
                f"SELECT EXISTS (SELECT FROM {schema}.accepted_ids WHERE message_id = $1)",  # noqa: S608
                message_id,
            ):
                await asyncio.sleep(0.1)
    finally:
        await connection.close()


async def _kill_often(stack: Stack, service: str, n: int, publishing: Publishing) -> None:
    """Kill it while commands come, each time as soon as it is there again. Once at least."""
    for _ in range(KILLS):
        await asyncio.sleep(0.05)
        pid = await asyncio.to_thread(stack.kill, service, n)
        await asyncio.to_thread(stack.wait_ready, service, n, not_pid=pid)
        if publishing.done.is_set():
            return
