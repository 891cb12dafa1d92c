"""One whole system, five services and the sandbox as separate processes, for all tests in here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from deploy.demo.stage import Stage
from deploy.local.stack import Stack

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    with Stack(ROOT / ".run" / "end-to-end", durable=False) as running:
        yield running


@pytest.fixture
async def stage(stack: Stack) -> AsyncIterator[Stage]:
    async with Stage(stack.env["AMQP_URL"], stack.env["SANDBOX_URL"]) as opened:
        yield opened
