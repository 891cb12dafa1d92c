"""Compose webhook-gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import aiohttp
from aiohttp import web

from services.webhook_gateway.connections import Connections
from services.webhook_gateway.endpoint import LARGEST_BODY_BYTES, WebhookEndpoint, expect
from services.webhook_gateway.ingest import WebhookIngest
from services.webhook_gateway.load_monitor import LoadMonitor, PacedOutbox
from services.webhook_gateway.repositories.webhooks import SCHEMA, Webhooks, retention
from services.webhook_gateway.requests.webhook_request import WebhookSource
from services.webhook_gateway.settings import Settings
from services.webhook_gateway.sources.crm.source import CrmSource
from services.webhook_gateway.sources.desk.source import DeskSource
from services.webhook_gateway.sources.finance.source import FinanceSource
from shared.crypto.blind_index import BlindIndex
from shared.crypto.envelope import DataKeys, Vault
from shared.crypto.keyring import KeyRing
from shared.messaging.broker.bindings import Bindings
from shared.messaging.broker.topology import Topology
from shared.messaging.handling.policy import MessagingPolicy
from shared.messaging.handling.routes import Routes
from shared.messaging.service.sending import Sending
from shared.observability.health import Health
from shared.observability.metrics import Metrics
from shared.storage import pool as storage
from shared.storage.migrations import migrate
from shared.storage.retention import Pruner
from shared.storage.write_probe import try_write

ORGS: Final = frozenset({"default"})
MIGRATIONS: Final = Path(__file__).parent / "migrations"


async def main(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until `stop`, then answer the requests under way and publish what is committed."""
    async with AsyncExitStack() as stack:
        await build(stack, settings)
        await stop.wait()


async def build(stack: AsyncExitStack, settings: Settings) -> int:
    """Start all parts in the order of their dependencies. Returns the port that is served."""
    metrics = Metrics("webhook-gateway")
    health = await stack.enter_async_context(
        Health(metrics, host=settings.http_host, port=settings.metrics_port)
    )
    pool = await stack.enter_async_context(
        storage.connect(
            settings.database_url,
            size=settings.database_pool_size,
            application="webhook-gateway",
        )
    )
    await migrate(pool, schema=SCHEMA, folder=MIGRATIONS)
    vault = Vault(DataKeys(pool, KeyRing.parse(settings.encryption_keys.get_secret_value())))
    index_ring = KeyRing.parse(settings.index_keys.get_secret_value())
    load = LoadMonitor()
    policy = MessagingPolicy()
    outbox = PacedOutbox(pool, vault, load, lease_s=policy.outbox_lease_s)
    sending = await stack.enter_async_context(
        Sending(
            service="webhook-gateway",
            amqp_url=settings.amqp_url,
            topology=Topology("webhook-gateway", Routes(), Bindings(pool)),
            outbox=outbox,
            metrics=metrics,
            policy=policy,
        )
    )
    await stack.enter_async_context(Pruner(pool, retention()))
    ingest = WebhookIngest(
        Webhooks(pool, outbox),
        vault,
        BlindIndex(index_ring, "gateway.webhooks"),
        sending.outgoing,
        load,
    )
    stack.push_async_callback(ingest.idle)
    session = await stack.enter_async_context(aiohttp.ClientSession())
    endpoints = [
        WebhookEndpoint(source, ingest, metrics, orgs=ORGS)
        for source in _sources(settings, session)
    ]
    # The broker is not checked: without it, webhooks are accepted all the same.
    health.add("database", partial(try_write, pool, "webhook-gateway"))
    connections = Connections(
        settings.connection_bounds,
        lambda reason: metrics.http_connections_ended.labels(reason).inc(),
    )
    app = application(endpoints, connections)
    port = await stack.enter_async_context(
        _listening(app, connections, settings.http_host, settings.http_port)
    )
    health.started()
    return port


def application(endpoints: Sequence[WebhookEndpoint], connections: Connections) -> web.Application:
    """`/webhooks/<product>` for each endpoint."""
    app = web.Application(client_max_size=LARGEST_BODY_BYTES, middlewares=[connections.middleware])
    for endpoint in endpoints:
        path = f"/webhooks/{endpoint.product}"
        # PUT can be chosen for the workflow webhooks of the finance products.
        app.add_routes(
            [
                web.post(path, endpoint.receive, expect_handler=expect),
                web.put(path, endpoint.receive, expect_handler=expect),
            ]
        )
        if endpoint.answers_get:
            app.add_routes([web.get(path, endpoint.greet)])
    return app


def _sources(settings: Settings, session: aiohttp.ClientSession) -> list[WebhookSource]:
    return [
        FinanceSource.of("billing", settings),
        FinanceSource.of("books", settings),
        CrmSource.of(settings),
        DeskSource.of(settings, session),
    ]


@asynccontextmanager
async def _listening(
    app: web.Application, connections: Connections, host: str, port: int
) -> AsyncIterator[int]:
    """Accept requests. On the way out take no new ones, and answer those under way."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=10.0)
    await runner.setup()
    try:
        await connections.listen(runner, host, port)
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
