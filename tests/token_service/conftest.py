"""Run token-service replicas on a real PostgreSQL, with the sandbox's accounts server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr

from services.token_service.app import build
from services.token_service.settings import Settings
from services.zoho_sandbox.app import create_app
from services.zoho_sandbox.server.request_log import LoggedRequest
from services.zoho_sandbox.server.world import World
from services.zoho_sandbox.settings import SandboxSettings

KEY = "a-key-of-the-workers"
RING = "k1:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="


class AccountsServer:
    """The sandbox's accounts server."""

    def __init__(self, world: World, url: str) -> None:
        self.world = world
        self.url = f"{url}/accounts"

    @property
    def mints(self) -> int:
        return len(list(self.world.table("accounts", "tokens")))

    @property
    def requests(self) -> list[LoggedRequest]:
        """Every received request, of all products."""
        return self.world.requests.find()

    def fault(self, kind: str, **more: Any) -> None:
        self.world.faults.add(
            {"product": "accounts", "operation": "generate_token", "kind": kind, **more}
        )

    def revoke_refresh_token(self) -> None:
        table = self.world.table("accounts", "refresh_tokens")
        for row in list(table):
            table.save({**row, "status": "revoked"})

    def new_refresh_token(self, token: str) -> SecretStr:
        table = self.world.table("accounts", "refresh_tokens")
        (known, *_) = table
        table.add({**known, "refresh_token": token, "status": "active"})
        return SecretStr(token)

    async def until_held(self) -> None:
        """Wait until a request for a token is held."""
        while not self.world.requests.held():  # noqa: ASYNC110  (a list, without an event)
            await asyncio.sleep(0.01)

    async def until_idle(self) -> None:
        """Wait until every request has an answer or was given up."""
        while any(request.status is None for request in self.requests):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


class Replica:
    """One token-service, called over HTTP."""

    def __init__(self, session: aiohttp.ClientSession, port: int, metrics_port: int) -> None:
        self._session = session
        self.url = f"http://127.0.0.1:{port}"
        self._metrics_url = f"http://127.0.0.1:{metrics_port}/metrics"

    async def post(
        self, path: str, body: object, *, key: str = KEY
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        async with self._session.post(
            self.url + path, json=body, headers={"Authorization": f"Bearer {key}"}
        ) as response:
            return response.status, await response.json(), dict(response.headers)

    async def token(self) -> str:
        status, body, _ = await self.post("/v1/token", {"org": "default"})
        assert status == 200, body
        return str(body["access_token"])

    async def refused(self) -> tuple[str, int]:
        status, body, headers = await self.post("/v1/token", {"org": "default"})
        assert status == 503, status
        return body["code"], int(headers["Retry-After"])

    async def metrics(self) -> str:
        async with self._session.get(self._metrics_url) as response:
            return await response.text()


Start = Callable[..., Awaitable[Replica]]


@pytest.fixture
async def accounts() -> AsyncIterator[AccountsServer]:
    world = World(SandboxSettings())
    # Not aiohttp's TestServer, which cancels a request when its client dies. Zoho does not.
    runner = web.AppRunner(create_app(world), access_log=None, shutdown_timeout=5.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield AccountsServer(world, f"http://127.0.0.1:{runner.addresses[0][1]}")
    finally:
        world.faults.clear()
        await runner.cleanup()


@pytest.fixture
async def start(database_url: str, accounts: AccountsServer) -> AsyncIterator[Start]:
    """Start a replica, with some settings changed by name. All stop with the test."""
    sandbox = accounts.world.settings

    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())

        async def start(**changed: Any) -> Replica:
            values: dict[str, Any] = {
                "database_url": SecretStr(database_url),
                "token_service_key": SecretStr(KEY),
                "encryption_keys": SecretStr(RING),
                "zoho_accounts_url": accounts.url,
                "zoho_client_id": sandbox.client_id,
                "zoho_client_secret": sandbox.client_secret,
                "zoho_refresh_token": sandbox.refresh_token,
                "http_host": "127.0.0.1",
                "http_port": 0,
                "metrics_port": 0,
            }
            service = await build(stack, Settings(**(values | changed)))
            return Replica(session, service.port, service.health.port)

        yield start


@pytest.fixture
async def replica(start: Start) -> Replica:
    return await start()
