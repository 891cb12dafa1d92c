"""A whole system whose waits are short, to be killed and cut off."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from deploy.demo.stage import Stage
from deploy.local.stack import Stack

ROOT = Path(__file__).resolve().parents[2]

# The sandbox answers at once, and its searches do not lag here: what must pass after a lost answer
# before anybody looks can be short. More calls a minute, so that no quota is waited for.
SHORT_WAITS = {
    "EFFECT_WRITE_S": "1",
    "EFFECT_TIMEOUT_S": "2",
    "SETTLE_FACTOR": "0",
    "LEASE_S": "4",
    "ZOHO_MINUTE_CALLS": "100000",
}


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    with Stack(ROOT / ".run" / "chaos", durable=True, settings=SHORT_WAITS) as running:
        yield running


@pytest.fixture
async def stage(stack: Stack) -> AsyncIterator[Stage]:
    async with Stage(stack.env["AMQP_URL"], stack.env["SANDBOX_URL"]) as opened:
        for product in ("billing", "books", "crm", "desk"):
            await opened.sandbox.set_limits(product, minute=100_000)
        await opened.sandbox.set_lag(billing=0, books=0, crm=0, desk=0, integration=0)
        yield opened
        await opened.sandbox.clear_faults()
