"""Start one whole system, five services and the sandbox as processes, for two folders of tests.

Started when a test first asks for it, stopped when pytest ends.
"""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from deploy.driving.system_driver import SystemDriver
from deploy.local.stack import Stack

RUN = Path(__file__).resolve().parents[2] / ".run"
PRODUCTS = ("billing", "books", "crm", "desk")

# The sandbox answers at once, and its searches do not lag here: what must pass after a lost answer
# before anybody looks can be short. More calls a minute, so that no quota is waited for.
SHORT_WAITS = {
    "EFFECT_WRITE_S": "1",
    "EFFECT_TIMEOUT_S": "2",
    "SETTLE_FACTOR": "0",
    "RECOVERY_GATHER_S": "3",
    "ZOHO_MINUTE_CALLS": "100000",
    "ERASURE_RETRY_S": "1",
    "ERASURE_REFUSALS": "2",
    "ERASURE_REFUSAL_WAIT_S": "1",
    # The calls of killed workers count as in flight to their deadline: room for several kills.
    **{f"ZOHO_{product.upper()}_IN_FLIGHT": "50" for product in PRODUCTS},
}

# All but the first are held down, except where a test lets them run.
REPLICAS = {"billing-worker": 3, "crm-worker": 3, "desk-worker": 2}

_STACK = pytest.StashKey[Stack]()


def whole_system(config: pytest.Config) -> Stack:
    """The running stack of this pytest run. The data of the run before is gone."""
    if _STACK not in config.stash:
        stack = Stack(_folder_of_ours(config), settings=SHORT_WAITS, replicas=REPLICAS)
        stack.discard()
        config.add_cleanup(stack.stop)
        stack.start()
        for service, count in REPLICAS.items():
            for n in range(2, count + 1):
                stack.stop_process(service, n)
        config.stash[_STACK] = stack
    return config.stash[_STACK]


def _folder_of_ours(config: pytest.Config) -> Path:
    """`.run/end-to-end`, or another one while a second run of pytest has it."""
    RUN.mkdir(exist_ok=True)
    for name in ("end-to-end", *(f"end-to-end-{n}" for n in range(2, 10))):
        lock = (RUN / f"{name}.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        config.add_cleanup(lock.close)
        return RUN / name
    raise RuntimeError("too many runs of pytest at once")


@asynccontextmanager
async def stage_of(stack: Stack) -> AsyncIterator[SystemDriver]:
    """A stage whose Zoho refuses nothing for being asked often. Faults are cleared at the end."""
    async with SystemDriver(stack.env["AMQP_URL"], stack.env["SANDBOX_URL"]) as stage:
        for product in PRODUCTS:
            await stage.sandbox.set_limits(
                product, minute=100_000, day=None, concurrency=None, heavy_concurrency=None
            )
        try:
            yield stage
        finally:
            await stage.sandbox.clear_faults()


@asynccontextmanager
async def more_replicas(
    stack: Stack, services: Iterable[str], *, count: int = 2
) -> AsyncIterator[None]:
    """So many replicas of each service run while the context is entered, or all that it has."""
    more = [(each, n) for each in services for n in range(2, min(count, REPLICAS[each]) + 1)]
    try:
        for service, n in more:
            await asyncio.to_thread(stack.start_process, service, n)
        yield
    finally:
        for service, n in more:
            await asyncio.to_thread(stack.stop_process, service, n)


async def all_published(stack: Stack) -> None:
    """Return once nothing is left in the outbox of any worker."""
    connection = await asyncpg.connect(stack.env["DATABASE_URL"])
    pending = " UNION ALL ".join(
        f"SELECT FROM {schema}.outbox WHERE published_at IS NULL"
        for schema in ("billing", "crm", "desk")
    )
    try:
        async with asyncio.timeout(120):
            while await connection.fetchval(f"SELECT count(*) FROM ({pending}) p"):  # noqa: S608, ASYNC110
                await asyncio.sleep(0.2)
    finally:
        await connection.close()
