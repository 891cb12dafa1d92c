"""Check the whole set-up, here and at Zoho: `zoho-relay doctor`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Annotated, Final

import aiohttp
import asyncpg
import typer

from services.operator.access.zoho import QuotaSeen, open_zoho
from services.operator.console.listing import JsonOption, OrgOption
from services.operator.doctor.findings import Findings, show_findings
from services.operator.doctor.pauses import check_pauses
from services.operator.doctor.products.crm import CrmChecks
from services.operator.doctor.products.desk import DeskChecks, check_gateway
from services.operator.doctor.products.finance import FinanceChecks, check_customer_field_form
from services.operator.doctor.products.product_checks import ProductChecks
from services.operator.doctor.servers import (
    DoctorSettings,
    check_broker,
    check_database,
    read_settings,
)
from services.operator.doctor.tokens import (
    check_credentials,
    find_token_service,
    granted_scopes,
)
from services.operator.doctor.zoho import ZohoChecks, show_quotas

_PRODUCTS: Final[tuple[type[ProductChecks], ...]] = (FinanceChecks, CrmChecks, DeskChecks)


def doctor(
    gateway: Annotated[
        str | None,
        typer.Option(
            "--gateway", help="The public URL at which Zoho reaches webhook-gateway: https://…"
        ),
    ] = None,
    as_json: JsonOption = False,
    org: OrgOption = "default",
) -> None:
    """Check the set-up, here and at Zoho, and advise what to do.

    Changes nothing. Spends about 15 calls to Zoho. Each finding is ok, wrong, or not checked
    because no call shows it. Exits with 1 when something is wrong.
    """
    findings = asyncio.run(examine(gateway, org))
    show_findings(findings, as_json=as_json)
    if findings.anything_wrong:
        raise typer.Exit(1)


async def examine(gateway: str | None, org: str) -> Findings:
    findings = Findings()
    settings = read_settings(findings, gateway)
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        await check_broker(findings, settings.broker)
        pool = await check_database(findings, settings.storage, stack)
        client = await find_token_service(findings, settings.tokens, session, org)
        at_zoho = Findings()
        if client is not None and settings.tokens is not None:
            granted = await granted_scopes(client, org)
            await _examine_zoho(at_zoho, settings, pool, session, granted, org)
            # Only now: a revoked token looks good until Zoho refuses it.
            await check_credentials(findings, client, settings.tokens.zoho_scopes, org)
        else:
            await _examine_zoho(at_zoho, settings, pool, session, None, org)
        await check_pauses(findings, settings.metrics, session)
        findings.all += at_zoho.all
        await check_gateway(findings, settings.gateway, session)
    for product in _PRODUCTS:
        for what, where in product.to_switch_off:
            findings.not_checked("to switch off at Zoho", what, "no call shows it", where)
    return findings


async def _examine_zoho(
    findings: Findings,
    settings: DoctorSettings,
    pool: asyncpg.Pool | None,
    session: aiohttp.ClientSession,
    granted: Sequence[str] | None,
    org: str,
) -> None:
    if pool is None or settings.tokens is None or settings.zoho is None or granted is None:
        why = (
            "no access token"
            if pool and settings.tokens and settings.zoho
            else "see the lines above"
        )
        for area in ("organizations", "custom fields", "webhooks", "quotas"):
            findings.not_checked(area, "all of it", why)
        return
    seen = QuotaSeen()
    async with open_zoho(
        pool, session, settings.tokens, settings.zoho, settings.organization_ids, org=org, seen=seen
    ) as zoho:
        checks = ZohoChecks(findings, zoho, granted)
        products = [product(checks, settings) for product in _PRODUCTS]
        for product in products:
            await product.check_organization()
        for product in products:
            await product.check_custom_fields()
        await check_customer_field_form(findings, pool, org)
        show_quotas(findings, seen)
        for product in products:
            await product.check_webhooks()
