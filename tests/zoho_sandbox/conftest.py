"""Start a sandbox on a free port, with its driver and a plain HTTP client."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from services.zoho_sandbox.app import create_app
from services.zoho_sandbox.driver import SandboxDriver
from services.zoho_sandbox.server.request_log import RequestLog
from services.zoho_sandbox.server.world import World
from services.zoho_sandbox.settings import SandboxSettings
from tests.kit.sandbox_client import Zoho


@pytest.fixture
def log_lines() -> list[str]:
    """Return the lines that the sandbox prints."""
    return []


@pytest.fixture
async def world(log_lines: list[str]) -> World:
    return World(SandboxSettings(), RequestLog(log_lines.append))


@pytest.fixture
async def url(world: World) -> AsyncIterator[str]:
    async with TestServer(create_app(world)) as server:
        yield str(server.make_url("")).rstrip("/")


@pytest.fixture
async def sandbox(url: str) -> AsyncIterator[SandboxDriver]:
    async with SandboxDriver(url) as driver:
        await driver.set_lag(integration=0)
        yield driver


@pytest.fixture
async def zoho(url: str, world: World, sandbox: SandboxDriver) -> AsyncIterator[Zoho]:
    async with aiohttp.ClientSession() as session:
        zoho = Zoho(url, session, world)
        zoho.token = (await zoho.mint()).body["access_token"]
        yield zoho
