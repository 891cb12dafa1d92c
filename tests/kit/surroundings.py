"""Run a worker in the test's own process, on the real broker and database and a sandbox.

async with Surroundings(database_url, amqp_url) as around:
    async with around.running(app.main, Settings(**around.environment)) as stage: …
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Self, TypeVar

import aio_pika
from aio_pika.exceptions import ChannelNotFoundEntity
from aiohttp.test_utils import TestServer

from deploy.driving.system_driver import SystemDriver
from services.token_service import app as token_service
from services.token_service.settings import Settings as TokenServiceSettings
from services.zoho_sandbox.app import create_app
from services.zoho_sandbox.server.world import World
from services.zoho_sandbox.settings import SandboxSettings

S = TypeVar("S")
LOOPBACK = "127.0.0.1"


class Surroundings:
    """The sandbox and a token-service, and the settings under which a worker finds them."""

    def __init__(self, database_url: str, amqp_url: str) -> None:
        self._database_url = database_url
        self._amqp_url = amqp_url
        self._stack = AsyncExitStack()
        self.environment: dict[str, Any] = {}

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            zoho = SandboxSettings(port=0)
            sandbox = TestServer(create_app(World(zoho)), host=LOOPBACK)
            await sandbox.start_server()
            stack.push_async_callback(sandbox.close)
            self.sandbox_url = str(sandbox.make_url("")).rstrip("/")
            self.environment = self._environment(zoho)
            tokens = await token_service.build(
                stack,
                TokenServiceSettings(
                    **self.environment,
                    http_port=0,
                    metrics_port=0,
                    zoho_client_id=zoho.client_id,
                    zoho_client_secret=zoho.client_secret,
                    zoho_refresh_token=zoho.refresh_token,
                ),
            )
            self.environment |= {
                "token_service_url": f"http://{LOOPBACK}:{tokens.port}",
                "metrics_port": 0,
            }
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    def _environment(self, zoho: SandboxSettings) -> dict[str, Any]:
        key = base64.b64encode(b"k" * 32).decode()
        return {
            "amqp_url": self._amqp_url,
            "database_url": self._database_url,
            "encryption_keys": f"e1:{key}",
            "index_keys": f"i1:{key}",
            "token_service_key": "a key between our services",
            "http_host": LOOPBACK,
            "zoho_accounts_url": f"{self.sandbox_url}/accounts",
            "zoho_billing_url": f"{self.sandbox_url}/billing/v1",
            "zoho_books_url": f"{self.sandbox_url}/books/v3",
            "zoho_crm_url": f"{self.sandbox_url}/crm",
            "zoho_desk_url": f"{self.sandbox_url}/desk/api/v1",
            "zoho_organization_id": zoho.organization_id,
            "zoho_desk_org_id": zoho.desk_org_id,
            "zoho_desk_department_id": zoho.desk_department_id,
            # An erasure begins at once, and soon asks again.
            "erasure_quiet_s": 0.1,
            "erasure_retry_s": 0.1,
            "erasure_refusals": 1,
            "erasure_refusal_wait_s": 0.1,
        }

    @asynccontextmanager
    async def running(
        self, main: Callable[[S, asyncio.Event], Awaitable[None]], settings: S, *, queue: str
    ) -> AsyncIterator[SystemDriver]:
        """Run the worker until the block is left. It has drained then. Waits for `queue`."""
        stop = asyncio.Event()
        task = asyncio.ensure_future(main(settings, stop))
        try:
            await self._until_read(queue, task)
            async with SystemDriver(self._amqp_url, self.sandbox_url, patience_s=20.0) as stage:
                yield stage
        finally:
            stop.set()
            await task

    async def _until_read(self, queue: str, task: asyncio.Future[None]) -> None:
        connection = await aio_pika.connect(self._amqp_url)
        async with connection, asyncio.timeout(20):
            while not task.done():
                with suppress(ChannelNotFoundEntity):
                    channel = await connection.channel()
                    declared = await channel.declare_queue(queue, passive=True)
                    # Before it is read, it may not be bound yet.
                    if declared.declaration_result.consumer_count:
                        return
                await asyncio.sleep(0.05)
        await task
