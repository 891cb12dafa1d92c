"""Test that Zoho never counts more calls than it allows, whoever dies or restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from deploy.local.stack import Stack
from shared.storage.migrations import migrate
from shared.storage.pool import connect
from tests.kit.quota_crowd import Crowd, crowd, most_in_a_window

CALLS, WINDOW_S, IN_FLIGHT = 20, 1.5, 10
_AS_LONG_AS_IT_TAKES_S = 600.0  # they are ended with the test


@pytest.fixture
async def own_postgres(tmp_path: Path, amqp_url: str) -> AsyncIterator[Stack]:
    """A PostgreSQL that may be restarted."""
    stack = Stack(tmp_path / "stack", services={}, sandbox=False, amqp_url=amqp_url)
    await asyncio.to_thread(stack.start)
    yield stack
    await asyncio.to_thread(stack.discard)


@pytest.mark.timeout(300)
async def test_a_killed_worker_and_a_restart_of_postgresql_overrun_no_limit(
    own_postgres: Stack,
) -> None:
    url = own_postgres.env["DATABASE_URL"]
    async with connect(SecretStr(url), size=1) as pool:
        await migrate(pool, schema="billing")
    async with crowd(url, calls=CALLS, window_s=WINDOW_S) as together:
        for _ in range(3):
            await together.join(_AS_LONG_AS_IT_TAKES_S, *["urgent"] * 4)
        await _counted(together, 2 * CALLS)

        await _kill_in_mid_call(together)
        await _counted(together, 2 * CALLS)
        await asyncio.to_thread(own_postgres.stop_process, "postgres")
        await asyncio.to_thread(own_postgres.start_process, "postgres")
        await _counted(together, 2 * CALLS)

        assert await together.refused() == 0
        assert most_in_a_window(await together.arrivals(), WINDOW_S) <= CALLS


async def _counted(together: Crowd, more: int) -> None:
    """Wait until Zoho has counted so many more calls.

    For longer than a minute: a permit whose release PostgreSQL did not see is in flight for one.
    """
    latest = (await together.sandbox.requests(product="billing"))[-1:]
    since = latest[0]["id"] if latest else 0
    await together.sandbox.wait_for_request(
        "billing", "list_plans", since=since, count=more, timeout_s=100
    )


async def _kill_in_mid_call(together: Crowd) -> None:
    """Four tasks each: when ten calls are held, every one of three processes is in mid-call."""
    await together.sandbox.fault("billing", "hold")
    async with asyncio.timeout(60):
        while True:
            if len((await together.sandbox.state())["held"]) == IN_FLIGHT:
                break
            await asyncio.sleep(0.05)
    together.processes[0].kill()
    await together.processes[0].wait()
    await together.sandbox.clear_faults()
