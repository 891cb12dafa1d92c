"""A whole billing-worker on a real broker and database, beside a sandbox and a token-service."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aio_pika
import pytest
from aiohttp import web

from deploy.demo.stage import Stage
from services.billing_worker.app import main
from services.billing_worker.settings import Settings
from services.token_service.app import build as build_token_service
from services.token_service.settings import Settings as TokenSettings
from services.zoho_sandbox.app import create_app
from services.zoho_sandbox.settings import SandboxSettings
from services.zoho_sandbox.world import World
from shared.contracts.commands import Command
from shared.contracts.webhooks import WebhookReceived, event_name
from shared.crypto.keyring import fresh_key

_QUEUES = ("urgent", "commands", "reads", "webhooks")
_KEY = "a-key-of-the-tests-and-nothing-else"
_DIGITS = 15  # ids of Zoho's have that many digits and more


@dataclass
class Upstream(Stage):
    """The application, Zoho's staff and a spectator: see deploy.demo.stage."""

    async def send(self, command: Command, *, message_id: str | None = None) -> None:
        body = command.model_dump(mode="json", exclude_unset=True)
        await self.publish(command.routing_key, body, message_id=message_id)

    async def request(self, command: Command) -> dict[str, Any]:
        body = command.model_dump(mode="json", exclude_unset=True)
        return await self.ask(command.routing_key, body)

    async def held(self, product: str, kind: str) -> list[dict[str, Any]]:
        return await self.sandbox.records(product, kind)

    def told(self, routing_key: str, **fields: Any) -> list[dict[str, Any]]:
        return [
            body
            for key, body in self.events
            if key == routing_key and all(body.get(f) == v for f, v in fields.items())
        ]

    async def nothing_of_zohos_left(self) -> None:
        """No id of Zoho's in any event or reply so far."""
        out = json.dumps([self.events, self._replies])
        state = await self.sandbox.state()
        for product in ("billing", "books"):
            for rows in state[product].values():
                for row in rows:
                    for name, value in row.items():
                        if name.endswith("_id") and len(str(value)) >= _DIGITS:
                            assert str(value) not in out, f"an id of Zoho's left: {name}"
        assert "zoho." not in out.lower()
        assert "zohosecurepay" not in out.lower()


@pytest.fixture
async def world() -> World:
    return World(SandboxSettings())


@pytest.fixture
async def sandbox_url(world: World) -> AsyncIterator[str]:
    runner = web.AppRunner(create_app(world), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    yield f"http://127.0.0.1:{port}"
    await runner.cleanup()


@pytest.fixture
def settings(database_url: str, amqp_url: str, sandbox_url: str) -> dict[str, Any]:
    """What the worker is set up with; tests change it before the worker starts."""
    return {
        "amqp_url": amqp_url,
        "database_url": database_url,
        "database_pool_size": 6,
        "encryption_keys": fresh_key("e1"),
        "index_keys": fresh_key("i1"),
        "token_service_key": _KEY,
        "zoho_accounts_url": f"{sandbox_url}/accounts",
        "zoho_billing_url": f"{sandbox_url}/billing/v1",
        "zoho_books_url": f"{sandbox_url}/books/v3",
        "zoho_organization_id": SandboxSettings().organization_id,
        "zoho_billing_user_field": "cf_app_user_id",
        "zoho_books_invoice_field": "cf_app_invoice_id",
        "zoho_free_plan_codes": "free",
        "zoho_minute_calls": 10_000,
        "effect_write_s": 1.0,
        "effect_timeout_s": 0.2,
        "settle_factor": 0.02,
        "http_host": "127.0.0.1",
        "metrics_port": 0,
    }


@pytest.fixture
async def worker(
    settings: dict[str, Any], sandbox_url: str, amqp_url: str
) -> AsyncIterator[asyncio.Task[None]]:
    """A running billing-worker, Zoho's webhooks brought to its queue."""
    sandbox = SandboxSettings()
    async with AsyncExitStack() as stack:
        tokens = await build_token_service(
            stack,
            TokenSettings(
                database_url=settings["database_url"],
                encryption_keys=settings["encryption_keys"],
                token_service_key=_KEY,
                zoho_accounts_url=settings["zoho_accounts_url"],
                zoho_client_id=sandbox.client_id,
                zoho_client_secret=sandbox.client_secret,
                zoho_refresh_token=sandbox.refresh_token,
                http_host="127.0.0.1",
                http_port=0,
                metrics_port=0,
            ),
        )
        url = f"http://127.0.0.1:{tokens.port}"
        stop = asyncio.Event()
        running = asyncio.create_task(main(Settings(token_service_url=url, **settings), stop))
        try:
            await _consuming(amqp_url, running)
            yield running
        finally:
            stop.set()
            await running


@pytest.fixture
async def upstream(
    worker: asyncio.Task[None], amqp_url: str, sandbox_url: str
) -> AsyncIterator[Upstream]:
    async with AsyncExitStack() as stack:
        stage = await stack.enter_async_context(Upstream(amqp_url, sandbox_url, patience_s=30))
        gateway = await _gateway(stack, amqp_url)
        target = {"url": gateway, "secret": "notcheckedhere1"}
        await stage.sandbox.set_targets(billing=[target])
        yield stage
        await stage.nothing_of_zohos_left()


async def _consuming(amqp_url: str, running: asyncio.Task[None]) -> None:
    """Wait until the worker has declared its queues."""
    connection = await aio_pika.connect(amqp_url)
    async with connection:
        for name in _QUEUES:
            while True:
                if running.done():
                    running.result()
                channel = await connection.channel()
                try:
                    await channel.get_queue(f"billing-worker.{name}")
                    break
                except aio_pika.exceptions.ChannelClosed:
                    await asyncio.sleep(0.05)


async def _gateway(stack: AsyncExitStack, amqp_url: str) -> str:
    """Stands for webhook-gateway: passes on what the sandbox posts, unsealed."""
    connection = await stack.enter_async_context(await aio_pika.connect(amqp_url))
    channel = await connection.channel()
    webhooks = await channel.get_exchange("zoho.webhooks")

    async def receive(request: web.Request) -> web.Response:
        payload = await request.json()
        received = WebhookReceived(
            webhook_id=str(uuid.uuid4()),
            product="billing",
            event=event_name(payload["event_type"]),
            event_id=payload["event_id"],
            received_at=datetime.now(UTC),
            payload=payload,
        )
        await webhooks.publish(
            aio_pika.Message(
                received.model_dump_json().encode(),
                message_id=received.webhook_id,
                content_type="application/json",
            ),
            received.routing_key,
        )
        return web.Response()

    app = web.Application()
    app.router.add_post("/", receive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return f"http://127.0.0.1:{runner.addresses[0][1]}/"
