"""Assemble token-service from its settings."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp
import asyncpg
from aiohttp import web

from services.token_service.accounts import Accounts, OAuthClient
from services.token_service.grant_exchange import GrantExchange
from services.token_service.handlers.tokens import TokenHandlers, errors_as_responses, require_key
from services.token_service.minting import TokenMinter
from services.token_service.repositories.access_tokens import AccessTokens
from services.token_service.repositories.mints import Mints
from services.token_service.repositories.refresh_tokens import RefreshTokens
from services.token_service.settings import Settings
from shared.crypto.data_keys import DataKeys
from shared.crypto.envelope import Vault
from shared.crypto.keyring import KeyRing
from shared.observability.health import Check, Health
from shared.observability.metrics import Metrics
from shared.storage.migrations import migrate
from shared.storage.pool import connect
from shared.storage.write_probe import try_write
from shared.zoho.call.endpoints import Endpoints
from shared.zoho.waits import AFTER_ACCOUNTS_REFUSAL_S

_ORG = "default"
_LARGEST_REQUEST = 4096


@dataclass(frozen=True)
class TokenService:
    """A running token-service: its port and its health."""

    port: int
    health: Health


async def build(stack: AsyncExitStack, settings: Settings) -> TokenService:
    """Start everything. The stack stops it in the right order."""
    metrics = Metrics("token-service")
    health = await stack.enter_async_context(
        Health(metrics, host=settings.http_host, port=settings.metrics_port)
    )
    pool = await stack.enter_async_context(
        connect(settings.database_url, size=settings.database_pool_size)
    )
    await migrate(pool, schema="token", folder=Path(__file__).parent / "migrations")
    vault = Vault(DataKeys(pool, KeyRing.parse(settings.encryption_keys.get_secret_value())))
    refresh_tokens = RefreshTokens(pool, vault)
    if settings.zoho_refresh_token is not None:
        await refresh_tokens.store(_ORG, settings.zoho_refresh_token, source="environment")
    minter, exchange = await _tokens(stack, settings, pool, vault, refresh_tokens, metrics)
    health.add("database", partial(try_write, pool, "token-service"))
    health.before_scrape("token", _token_gauges(minter, metrics))
    app = _http(settings, minter, exchange)
    port = await _listen(stack, app, settings)
    health.started()
    return TokenService(port, health)


async def _tokens(
    stack: AsyncExitStack,
    settings: Settings,
    pool: asyncpg.Pool,
    vault: Vault,
    refresh_tokens: RefreshTokens,
    metrics: Metrics,
) -> tuple[TokenMinter, GrantExchange]:
    session = await stack.enter_async_context(
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
    )
    endpoints = Endpoints.of(settings, products={})
    client = OAuthClient(settings.zoho_client_id, settings.zoho_client_secret)
    parts = (
        Accounts(session, endpoints.accounts(), client),
        refresh_tokens,
        AccessTokens(pool, vault),
        Mints(pool),
    )

    def count(org: str, outcome: str) -> None:
        metrics.zoho_token_mints.labels(org=org, outcome=outcome).inc()

    minter = TokenMinter(*parts, observe=count)
    stack.push_async_callback(minter.close)
    return minter, GrantExchange(*parts, observe=count)


def _http(settings: Settings, minter: TokenMinter, exchange: GrantExchange) -> web.Application:
    handlers = TokenHandlers(minter, exchange, frozenset({_ORG}))
    app = web.Application(
        middlewares=[require_key(settings.token_service_key), errors_as_responses],
        client_max_size=_LARGEST_REQUEST,
    )
    app.add_routes(
        [
            web.post("/v1/token", handlers.token),
            web.post("/v1/token/invalid", handlers.invalid),
            web.post("/v1/exchange", handlers.exchange),
            web.post("/v1/status", handlers.status),
        ]
    )
    return app


async def _listen(stack: AsyncExitStack, app: web.Application, settings: Settings) -> int:
    # No access log: one line per call of a worker would carry no information.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=20.0)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, settings.http_host, settings.http_port).start()
    return int(runner.addresses[0][1])


def _token_gauges(minter: TokenMinter, metrics: Metrics) -> Check:
    """Set by every replica at every scrape, so a dead refresh token shows without any request."""

    async def refresh() -> None:
        state = await minter.state(_ORG)
        metrics.zoho_token_expires_in.labels(org=_ORG).set(state.expires_in_s)
        for code in AFTER_ACCOUNTS_REFUSAL_S:
            metrics.zoho_breaker_open.labels(org=_ORG, product="accounts", cause=code).set(
                code == state.problem
            )

    return refresh
