"""Run a whole billing-worker on a real broker and database, with a sandbox and a token-service."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import aio_pika
import aiohttp
import asyncpg
import pytest
import pytest_asyncio
from aiohttp import web
from pypdf import PdfReader

from deploy.driving.system_driver import SystemDriver
from deploy.local.ports import free_port
from services.billing_worker.app import main
from services.billing_worker.settings import Settings
from services.token_service.app import build as build_token_service
from services.token_service.settings import Settings as TokenSettings
from services.zoho_sandbox.app import create_app
from services.zoho_sandbox.server.behaviour import Behaviour
from services.zoho_sandbox.server.world import World
from services.zoho_sandbox.settings import SandboxSettings
from shared.contracts.commands import Command
from shared.contracts.webhooks import WebhookReceived, event_name
from tests.kit.fresh_keys import fresh_key
from tests.kit.servers import Servers

_QUEUES = ("intake.commands", "intake.webhooks")
# One worker for all tests of the package, on one event loop: its start takes longer than a test.
shared = pytest_asyncio.fixture(scope="package", loop_scope="session")

_KEY = "a-key-of-the-tests-and-nothing-else"
_MADE = {
    "billing": "customers cards subscriptions invoices payments creditnotes refunds events",
    "books": "contacts invoices customerpayments payment_refunds creditnotes creditnote_refunds",
}
_DIGITS = 15  # ids of Zoho's have that many digits and more


@dataclass
class Upstream(SystemDriver):
    """Act as the application and Zoho's staff, and observe the events."""

    gateway_url: str = ""
    database_url: str = ""
    posted: int = 0

    async def take_webhook(
        self, product: str, payload: dict[str, Any], *, received_at: datetime | None = None
    ) -> None:
        """Pass a webhook on as webhook-gateway does, unsealed."""
        self.posted += 1
        is_event = "event_type" in payload
        record = next((name for name in payload if name != "organization_id"), "")
        received = WebhookReceived(
            webhook_id=str(uuid.uuid4()),
            product=product,
            event=event_name(payload["event_type"] if is_event else f"{record}_changed"),
            event_id=payload.get("event_id"),
            received_at=received_at or datetime.now(UTC),
            payload=payload,
        )
        message = aio_pika.Message(
            received.model_dump_json().encode(),
            message_id=received.webhook_id,
            content_type="application/json",
        )
        webhooks = await self.channel.get_exchange("zoho.webhooks", ensure=False)
        await webhooks.publish(message, received.routing_key)

    async def webhooks_handled(self) -> None:
        """Wait until every webhook posted so far is settled, and its events are in `events`."""
        for product in _MADE:
            await self.sandbox.wait_until_delivered(product=product)
        connection = await asyncpg.connect(self.database_url)
        settled = """
            SELECT count(*) = $1 AND NOT EXISTS
                (SELECT FROM billing.inbox WHERE exchange = 'zoho.webhooks')
                AND NOT EXISTS (SELECT FROM billing.outbox WHERE published_at IS NULL)
            FROM billing.accepted_ids WHERE routing_key ~ '^(billing|books)[.]'
        """
        await until(lambda: connection.fetchval(settled, self.posted), True)
        await connection.close()
        await self.hear()

    async def settled(self) -> None:
        """Wait until every command sent so far is settled, and its events are in `events`."""
        connection = await asyncpg.connect(self.database_url)
        settled = """
            SELECT $1::text[] <@ (SELECT array_agg(message_id) FROM billing.accepted_ids)
                AND NOT EXISTS (SELECT FROM billing.inbox WHERE exchange = 'zoho.commands')
                AND NOT EXISTS (SELECT FROM billing.outbox WHERE published_at IS NULL)
        """
        sent = [command.message_id for command in self.published]
        await until(lambda: connection.fetchval(settled, sent), True)
        await connection.close()
        await self.hear()

    async def send(self, command: Command, *, message_id: str | None = None) -> None:
        body = command.model_dump(mode="json", exclude_unset=True)
        await self.publish(command.routing_key, body, message_id=message_id)

    async def post_books_record(self, name: str, record: dict[str, Any]) -> None:
        """Post a record as a workflow rule of Books does."""
        body = {"organization_id": "1", name: record}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.gateway_url}/books", json=body) as response,
        ):
            assert response.status == 200

    async def answer_to(self, command: Command) -> dict[str, Any]:
        body = command.model_dump(mode="json", exclude_unset=True)
        return await self.ask(command.routing_key, body)

    async def records(self, product: str, kind: str) -> list[dict[str, Any]]:
        return await self.sandbox.records(product, kind)

    def events_named(self, routing_key: str, **fields: Any) -> list[dict[str, Any]]:
        return [
            body
            for key, body in self.events
            if key == routing_key and all(body.get(f) == v for f, v in fields.items())
        ]

    async def assert_no_zoho_id_left(self) -> None:
        """Check that no event, reply or PDF so far has an id or a link of Zoho's."""
        sent = json.dumps([self.events, self._replies])
        sent += "".join(_texts_of_pdfs(self._replies.values()))
        state = await self.sandbox.state()
        for product in ("billing", "books"):
            for rows in state[product].values():
                for row in rows:
                    for name, value in row.items():
                        if name.endswith("_id") and len(str(value)) >= _DIGITS:
                            assert str(value) not in sent, f"an id of Zoho's left: {name}"
        assert "zoho." not in sent.lower()
        assert "zohosecurepay" not in sent.lower()


def _texts_of_pdfs(replies: Iterable[dict[str, Any]]) -> Iterator[str]:
    """What the PDFs among the replies say and link to."""
    for reply in replies:
        content = (reply.get("result") or {}).get("content")
        if content is None:
            continue
        for page in PdfReader(io.BytesIO(base64.b64decode(content))).pages:
            yield page.extract_text()
            yield from (str(link.get_object()) for link in page.get("/Annots") or ())


@shared
async def world() -> World:
    return World(SandboxSettings())


@shared
async def sandbox_url(world: World) -> AsyncIterator[str]:
    runner = web.AppRunner(create_app(world), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@shared
async def broker_url(servers: Servers) -> AsyncIterator[str]:
    name = f"test_{uuid.uuid4().hex}"
    user = urlsplit(servers.amqp_url).username
    servers.management.call("PUT", f"vhosts/{name}", {})
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    servers.management.call("PUT", f"permissions/{name}/{user}", everything)
    yield urlsplit(servers.amqp_url)._replace(path=f"/{name}").geturl()
    servers.management.call("DELETE", f"vhosts/{name}")


@shared
async def own_database_url(postgres_url: str) -> AsyncIterator[str]:
    name = f"test_{uuid.uuid4().hex}"
    server = await asyncpg.connect(postgres_url)
    await server.execute(f'CREATE DATABASE "{name}"')
    yield urlsplit(postgres_url)._replace(path=f"/{name}").geturl()
    await server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await server.close()


@shared
async def metrics_port() -> int:
    return free_port()


@shared
async def worker(
    own_database_url: str, broker_url: str, sandbox_url: str, metrics_port: int
) -> AsyncIterator[asyncio.Task[None]]:
    """A running billing-worker and its token-service, for all tests of the package."""
    sandbox = SandboxSettings()
    keys = fresh_key("e1")
    async with AsyncExitStack() as stack:
        tokens = await build_token_service(
            stack,
            TokenSettings(
                database_url=own_database_url,
                encryption_keys=keys,
                token_service_key=_KEY,
                zoho_accounts_url=f"{sandbox_url}/accounts",
                zoho_client_id=sandbox.client_id,
                zoho_client_secret=sandbox.client_secret,
                zoho_refresh_token=sandbox.refresh_token,
                http_host="127.0.0.1",
                http_port=0,
                metrics_port=0,
            ),
        )
        settings = Settings(
            amqp_url=broker_url,
            database_url=own_database_url,
            database_pool_size=6,
            encryption_keys=keys,
            index_keys=fresh_key("i1"),
            token_service_key=_KEY,
            token_service_url=f"http://127.0.0.1:{tokens.port}",
            zoho_accounts_url=f"{sandbox_url}/accounts",
            zoho_billing_url=f"{sandbox_url}/billing/v1",
            zoho_books_url=f"{sandbox_url}/books/v3",
            zoho_organization_id=sandbox.organization_id,
            zoho_billing_user_field="cf_app_user_id",
            zoho_books_invoice_field="cf_app_invoice_id",
            zoho_free_plan_codes="free",
            zoho_minute_calls=100_000,
            # So that a lost answer is looked up at once: the sandbox's searches do not lag.
            effect_write_s=1.0,
            effect_timeout_s=0.2,
            settle_factor=0.02,
            breaker_pause_s=0.1,
            erasure_quiet_s=0.2,
            erasure_retry_s=0.2,
            erasure_refusals=1,
            erasure_refusal_wait_s=0.2,
            http_host="127.0.0.1",
            metrics_port=metrics_port,
        )
        # A webhook that overtakes its command looks again soon.
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr("services.billing_worker.handlers.webhook_user._LOOK_AGAIN_S", 0.3)
        stop = asyncio.Event()
        running = asyncio.create_task(main(settings, stop))
        try:
            await _consuming(broker_url, running)
            yield running
        finally:
            stop.set()
            await running


@pytest_asyncio.fixture(loop_scope="session")
async def database(own_database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the worker's own database."""
    connection = await asyncpg.connect(own_database_url)
    yield connection
    await connection.close()


@pytest_asyncio.fixture(loop_scope="session")
async def upstream(
    worker: asyncio.Task[None],
    own_database_url: str,
    world: World,
    broker_url: str,
    sandbox_url: str,
) -> AsyncIterator[Upstream]:
    """The application of a system without any data yet."""
    await _forget_everything(own_database_url, world)
    async with AsyncExitStack() as stack:
        stage = await stack.enter_async_context(Upstream(broker_url, sandbox_url, patience_s=30))
        for product in _MADE:  # all tests together exceed a minute's limit
            await stage.sandbox.set_limits(product, minute=100_000)
        stage.database_url = own_database_url
        stage.gateway_url = gateway = await _gateway(stack, stage)
        for product in _MADE:
            target = {"url": f"{gateway}/{product}", "secret": "notcheckedhere1"}
            await stage.sandbox.set_targets(**{product: [target]})
        yield stage
        await stage.assert_no_zoho_id_left()
        for product in _MADE:
            await stage.sandbox.wait_until_delivered(product=product)
        await stage.sandbox.set_targets(billing=[], books=[])
        await _idle(own_database_url, stage)


async def _forget_everything(database_url: str, world: World) -> None:
    """Empty the database and Zoho. The token stays, because the number of mints is limited."""
    connection = await asyncpg.connect(database_url)
    tables = await connection.fetch(
        "SELECT schemaname || '.' || tablename AS name FROM pg_tables"
        " WHERE schemaname = 'billing' OR schemaname = 'relay'"
        " AND tablename IN ('effects', 'tombstones', 'erasure_parts')"
    )
    emptied = False
    while not emptied:
        # A webhook of the previous test may still be committing, and locks tables in another order.
        with suppress(asyncpg.DeadlockDetectedError):
            await connection.execute("TRUNCATE " + ", ".join(row["name"] for row in tables))
            emptied = True
    await connection.execute("DELETE FROM relay.data_keys WHERE destroyed_at IS NOT NULL")
    await connection.close()
    world.faults.clear()
    world.behaviour = Behaviour()
    world.webhooks.reset()
    world.lag_s = dict.fromkeys(world.lag_s, 0.0)
    for product, kinds in _MADE.items():
        for kind in kinds.split():
            world.table(product, kind).clear()
    currencies = world.table("books", "currencies")
    for currency in currencies:
        if not currency.get("is_base_currency"):
            currencies.remove(currency["currency_id"])


async def until(read: Callable[[], Awaitable[object]], expected: object) -> None:
    """Wait until `read` returns `expected`."""
    async with asyncio.timeout(90):
        while await read() != expected:  # noqa: ASYNC110  (a database has no event)
            await asyncio.sleep(0.05)


async def _idle(database_url: str, stage: Upstream) -> None:
    """Wait until every command is settled, so that none continues in the next test.

    What is open of a webhook is deleted before that, once it is accepted: not after.
    """
    connection = await asyncpg.connect(database_url)
    while True:
        queues = [
            await stage.channel.declare_queue(f"billing-worker.{name}", passive=True)
            for name in _QUEUES
        ]
        settled = await connection.fetchval(
            """
            SELECT count(*) = $1 AND NOT EXISTS
                (SELECT FROM billing.inbox WHERE exchange = 'zoho.commands')
            FROM billing.accepted_ids WHERE routing_key ~ '^(billing|books)[.]'
            """,
            stage.posted,
        )
        if settled and not any(q.declaration_result.message_count for q in queues):
            break
        await asyncio.sleep(0.05)
    await connection.close()


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


async def _gateway(stack: AsyncExitStack, stage: Upstream) -> str:
    """Stand in for webhook-gateway: take what the sandbox posts."""

    async def receive(request: web.Request) -> web.Response:
        await stage.take_webhook(request.match_info["product"], await request.json())
        return web.Response()

    app = web.Application()
    app.router.add_post("/{product}", receive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return f"http://127.0.0.1:{runner.addresses[0][1]}"
