from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from deploy.driving.system_driver import SystemDriver
from deploy.local.stack import Stack
from tests.kit.surroundings import Surroundings
from tests.kit.whole_system import stage_of, whole_system


@pytest.fixture(scope="session")
def stack(pytestconfig: pytest.Config) -> Stack:
    """A whole system whose waits are short, to be killed and cut off."""
    return whole_system(pytestconfig)


@pytest.fixture
async def stage(stack: Stack) -> AsyncIterator[SystemDriver]:
    async with stage_of(stack) as opened:
        yield opened


@pytest.fixture
async def around(database_url: str, amqp_url: str) -> AsyncIterator[Surroundings]:
    async with Surroundings(database_url, amqp_url) as surroundings:
        yield surroundings
