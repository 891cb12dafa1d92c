"""Call Zoho as a worker does, under the same quota ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
import asyncpg

from services.operator.settings import TokenSettings, ZohoSettings
from shared.zoho.call.breakers import Breakers
from shared.zoho.call.endpoints import Endpoints
from shared.zoho.call.http import ZohoHttp
from shared.zoho.call.operation import Called
from shared.zoho.call.tokens import Tokens
from shared.zoho.call.transport import open_transport
from shared.zoho.products.profiles import PROFILES
from shared.zoho.products.setup import ZohoSetup
from shared.zoho.quota.quota import Decision, Quota
from shared.zoho.quota.settings import limits_from


class QuotaSeen:
    """Keep the latest figures of each product's quota: calls of the minute, credits of the day."""

    def __init__(self) -> None:
        self.calls_left: dict[str, int] = {}
        self.credits_left: dict[str, int] = {}

    def decided(self, decision: Decision) -> None:
        if decision.calls_left is not None:
            self.calls_left[decision.call.product] = decision.calls_left
        if decision.credits_left is not None:
            self.credits_left[decision.call.product] = decision.credits_left

    def called(self, called: Called) -> None:
        """Prefer the figure that Zoho itself reports."""
        if called.quota_left is not None:
            self.credits_left[called.product] = called.quota_left


@asynccontextmanager
async def open_zoho(
    pool: asyncpg.Pool,
    session: aiohttp.ClientSession,
    tokens: TokenSettings,
    zoho: ZohoSettings,
    organization_ids: Mapping[str, str],
    *,
    org: str,
    seen: QuotaSeen,
) -> AsyncIterator[ZohoSetup]:
    endpoints = Endpoints.of(zoho, PROFILES, organization_ids)
    quotas = {name: profile.quota for name, profile in PROFILES.items()}
    async with open_transport("operator") as transport:
        http = ZohoHttp(
            transport,
            Tokens(session, tokens.token_service_url, tokens.token_service_key),
            Quota(pool, limits_from(zoho, quotas, endpoints.zone), observe=seen.decided),
            {org: endpoints},
            # Without a pause: each check has to see for itself, whatever the one before it saw.
            Breakers(first_pause_s=0.0),
            observers=(seen.called,),
        )
        # Not on the lowest priority: a person waits, and backfill may be paced to nothing.
        yield ZohoSetup(http, org=org)
