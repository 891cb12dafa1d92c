"""Build the parts of a worker that lie between its settings and its handlers.

    async with worker_parts("billing-worker", "billing", settings, …) as parts:
        async with parts.messaging(Routes(commands={…}, …)) as messaging: …

Parts are entered in the order in which they need each other, and left in the opposite one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import aiohttp
import asyncpg

from shared.call_budget import ZohoCallBudget
from shared.contracts.commands import UserErasureRequested
from shared.crypto.blind_index import BlindIndex
from shared.crypto.envelope import DataKeys, Vault
from shared.crypto.key_table import require_data_keys
from shared.crypto.keyring import KeyRing
from shared.erasing.erasures import Erasures
from shared.erasing.outcome import ProductErasure
from shared.erasing.row_cleanup import RowCleanup
from shared.erasing.user_erasure import ErasurePolicy, UserErasure
from shared.errors import Unavailable
from shared.messaging.handling.policy import MessagingPolicy
from shared.messaging.handling.routes import Route, Routes
from shared.messaging.inbox.waits import BehindSince
from shared.messaging.service.messaging import Messaging
from shared.messaging.service.restore_watch import RestoreWatch
from shared.observability.health import RECOVERY_CHECK, Health
from shared.observability.metrics import Metrics
from shared.pause_gauges import PauseGauges
from shared.settings import (
    Amqp,
    ConsumerSettings,
    Crypto,
    Database,
    ErasureSettings,
    Observability,
    TokenServiceAccess,
    ZohoCalls,
    ZohoEndpoints,
)
from shared.storage import pool as storage
from shared.storage.migrations import migrate
from shared.storage.rehearsal import KeptWarm
from shared.storage.write_probe import try_write
from shared.zoho.call.breakers import Breakers
from shared.zoho.call.endpoints import Endpoints
from shared.zoho.call.http import ZohoHttp
from shared.zoho.call.observers import ZohoMetrics, count_call, log_call
from shared.zoho.call.profile import ProductProfile
from shared.zoho.call.tokens import Tokens
from shared.zoho.call.transport import open_transport
from shared.zoho.effects.effects import Effects
from shared.zoho.quota.forecast import QuotaForecast
from shared.zoho.quota.quota import Quota
from shared.zoho.quota.reservations import Reservations
from shared.zoho.quota.settings import limits_from

# Connections that are kept open and have rehearsed: a lone message is on three at once.
_WARM: Final = 3

# The age in seconds of an organization's oldest change that has not reached its destination, or 0.
LagSource = Callable[[str], Awaitable[float]]


class WorkerSettings(
    Amqp,
    Database,
    Crypto,
    TokenServiceAccess,
    ZohoEndpoints,
    ZohoCalls,
    ConsumerSettings,
    ErasureSettings,
    Observability,
):
    """The settings of every worker. Each adds its own groups."""


@dataclass(frozen=True)
class WorkerParts:
    """The common parts of one running worker."""

    service: str
    schema: str
    settings: WorkerSettings
    pool: asyncpg.Pool
    vault: Vault
    blind_index: BlindIndex
    metrics: Metrics
    health: Health
    breakers: Breakers
    http: ZohoHttp
    effects: Effects
    quota: Quota
    reservations: Reservations
    restore_watch: RestoreWatch
    org: str

    async def erasure(self, *parts: ProductErasure, cleanup: RowCleanup | None = None) -> Route:
        """The route of erasures, and from now on every erasure needs these products' parts."""
        erasures = Erasures(self.pool, self.vault)
        await erasures.take_part(self.service, [part.product for part in parts])

        async def backlog() -> None:
            open_now, oldest_s = await erasures.backlog(self.org)
            self.metrics.erasures_open.labels(org=self.org).set(open_now)
            self.metrics.erasure_oldest_age.labels(org=self.org).set(oldest_s)

        self.health.before_scrape("erasures", backlog)
        handler = UserErasure(
            erasures, self.schema, parts, ErasurePolicy.of(self.settings), cleanup or RowCleanup()
        )
        return Route(UserErasureRequested, handler.erase)

    @asynccontextmanager
    async def messaging(
        self,
        routes: Routes,
        *,
        lag_sources: Sequence[LagSource] = (),
        recorders: Mapping[str, BehindSince] | None = None,
    ) -> AsyncIterator[Messaging]:
        """Work on the messages of these routes, and be ready while work goes on.

        `sync_lag_seconds` is the age of the oldest change that has not reached its destination:
        the oldest of the commands that are not settled, and of the `lag_sources`. `recorders`: see
        `Messaging`.
        """
        settings = self.settings
        budget = ZohoCallBudget(self.org, _products(routes), self.breakers, self.reservations)
        messaging = Messaging(
            service=self.service,
            schema=self.schema,
            amqp_url=settings.amqp_url,
            pool=self.pool,
            vault=self.vault,
            digest=self.blind_index,
            metrics=self.metrics,
            routes=routes,
            policy=MessagingPolicy.of(settings),
            budget=budget,
            recorders=recorders,
        )

        async def broker() -> None:
            if not await messaging.ready():
                raise Unavailable("the broker is not connected", code="broker_unavailable")

        async def lag() -> None:
            sources = (messaging.oldest_command_s, *lag_sources)
            ages = [await age_s(self.org) for age_s in sources]
            self.metrics.sync_lag.labels(service=self.service, org=self.org).set(max(ages))

        gauges = PauseGauges(self.metrics, self.service, self.org, _products(routes))

        async def paused() -> None:
            gauges.show(messaging.pauses())

        self.health.add(RECOVERY_CHECK, self.restore_watch.require_admission)
        self.health.before_scrape("lag", lag)
        self.health.before_scrape("paused products", paused)
        warm = KeptWarm(self.pool, _WARM, self.quota.rehearse, messaging.rehearse)
        async with self.restore_watch.admitted(), warm, messaging:
            self.health.add("broker", broker)
            self.health.started()
            yield messaging


def _products(routes: Routes) -> frozenset[str]:
    """The products that the handlers call."""
    return frozenset(product for _, route in routes.items() for product in route.calls)


@asynccontextmanager
async def worker_parts(
    service: str,
    schema: str,
    settings: WorkerSettings,
    *,
    migrations: Path,
    organization_ids: Mapping[str, str],
    products: Sequence[ProductProfile],
    stop: asyncio.Event | None = None,
    org: str = "default",
) -> AsyncIterator[WorkerParts]:
    """Build the parts. `products` are those that it calls. `organization_ids` are Zoho's.

    `stop` ends what has no end by itself: the wait for an operator after a restore.
    """
    async with AsyncExitStack() as stack:
        metrics = Metrics(service)
        health = Health(metrics, host=settings.http_host, port=settings.metrics_port)
        await stack.enter_async_context(health)
        pool = await stack.enter_async_context(
            storage.connect(
                settings.database_url, size=settings.database_pool_size, application=service
            )
        )
        await migrate(pool, schema=schema, folder=migrations)
        await require_data_keys(pool, schema)

        health.add("database", partial(try_write, pool, service))
        vault = Vault(DataKeys(pool, KeyRing.parse(settings.encryption_keys.get_secret_value())))
        blind_index = BlindIndex(KeyRing.parse(settings.index_keys.get_secret_value()), schema)
        zoho_metrics = ZohoMetrics(metrics)
        breakers = Breakers(observe=zoho_metrics.breaker, first_pause_s=settings.breaker_pause_s)
        profiles = {profile.name: profile for profile in products}
        endpoints = Endpoints.of(settings, profiles, organization_ids)
        quota, reservations = await _quota(stack, pool, settings, endpoints, zoho_metrics, health)
        http = ZohoHttp(
            await stack.enter_async_context(open_transport(service)),
            await _tokens(stack, settings, zoho_metrics),
            quota,
            {org: endpoints},
            breakers,
            observers=(log_call, zoho_metrics.called, count_call),
            probes={profile.name: profile.probe for profile in products},
        )
        restore_watch = RestoreWatch(
            service=service,
            schema=schema,
            amqp_url=settings.amqp_url,
            pool=pool,
            metrics=metrics,
            stop=stop,
        )
        effects = Effects(
            pool,
            vault,
            http,
            metrics,
            write_s=settings.effect_write_s,
            timeout_s=settings.effect_timeout_s,
            search_lag_factor=settings.settle_factor,
            work_mark=restore_watch,
        )
        yield WorkerParts(
            service,
            schema,
            settings,
            pool,
            vault,
            blind_index,
            metrics,
            health,
            breakers,
            http,
            effects,
            quota,
            reservations,
            restore_watch,
            org,
        )


async def _tokens(
    stack: AsyncExitStack, settings: WorkerSettings, zoho_metrics: ZohoMetrics
) -> Tokens:
    return Tokens(
        await stack.enter_async_context(aiohttp.ClientSession()),
        settings.token_service_url,
        settings.token_service_key,
        observe=zoho_metrics.token_fetched,
    )


async def _quota(
    stack: AsyncExitStack,
    pool: asyncpg.Pool,
    settings: WorkerSettings,
    endpoints: Endpoints,
    zoho_metrics: ZohoMetrics,
    health: Health,
) -> tuple[Quota, Reservations]:
    quotas = {name: profile.quota for name, profile in endpoints.products.items()}
    limits = limits_from(settings, quotas, endpoints.zone)
    reservations = Reservations(pool, limits)
    quota = Quota(pool, limits, observe=zoho_metrics.decided, reservations=reservations)
    stack.push_async_callback(quota.idle)  # while the pool is still open
    forecast = QuotaForecast(pool, limits, called=quota.called, observe=zoho_metrics.forecast)
    health.before_scrape("forecast", forecast.refresh)
    return quota, reservations
