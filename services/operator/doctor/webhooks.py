"""Check whether Zoho's webhooks reach us, as far as it can be read."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import UTC, datetime
from urllib.parse import urlsplit

import aiohttp

from services.operator.doctor.findings import Findings
from services.operator.doctor.servers import DoctorSettings
from services.operator.doctor.zoho import ZohoChecks
from services.operator.settings import GatewaySettings
from shared.zoho.products.setup import ZohoRecord, ZohoSetup

_AREA = "webhooks"
_TIMEOUT = aiohttp.ClientTimeout(total=10.0)


async def check_gateway(
    findings: Findings, settings: GatewaySettings | None, session: aiohttp.ClientSession
) -> None:
    """Send the GET with which Desk checks a URL before it accepts it."""
    if settings is None or settings.gateway_url is None:
        findings.not_checked(
            _AREA,
            "webhook-gateway",
            "its public address is not known",
            "Pass --gateway https://… as it is registered at Zoho, or set GATEWAY_URL.",
        )
        return
    todo = "Zoho has to reach it from outside, by HTTPS: DNS, certificate, proxy, is it up?"
    try:
        async with session.get(
            f"{settings.gateway_url}/webhooks/desk", timeout=_TIMEOUT
        ) as response:
            status = response.status
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        found = f"does not answer ({type(error).__name__})"
        findings.wrong(_AREA, "webhook-gateway", found, todo)
        return
    if status == 200:
        findings.ok(_AREA, "webhook-gateway", "answers Desk's handshake")
    else:
        findings.wrong(_AREA, "webhook-gateway", f"answers {status} instead of 200", todo)


async def check_webhooks(
    findings: Findings, checks: ZohoChecks, zoho: ZohoSetup, settings: DoctorSettings
) -> None:
    hooks = _Hooks(findings, checks, zoho)
    await hooks.billing()
    findings.not_checked(
        _AREA,
        "Books",
        "no documented call lists Books' webhooks",
        "Books, Settings, Automation, Webhooks: /webhooks/books, secured with"
        " ZOHO_WEBHOOK_SECRET, fired by a workflow rule on invoices.",
    )
    await hooks.crm()
    if settings.gateway is not None and settings.desk is not None:
        await hooks.desk(settings.gateway)


class _Hooks:
    def __init__(self, findings: Findings, checks: ZohoChecks, zoho: ZohoSetup) -> None:
        self._findings = findings
        self._checks = checks
        self._zoho = zoho

    async def billing(self) -> None:
        check = "Billing"
        where = (
            "Billing, Settings, Webhooks: /webhooks/billing, secured with ZOHO_WEBHOOK_SECRET,"
            " events of subscriptions, payments and invoices."
        )
        statuses = await self._checks.ask(
            "billing", _AREA, check, _or_none_yet(self._zoho.newest_event_deliveries())
        )
        match statuses:
            case None:
                return
            case "none":
                self._findings.not_checked(_AREA, check, "nothing has happened there yet", where)
            case []:
                found = "its newest event was sent to no webhook"
                self._findings.wrong(_AREA, check, found, where)
            case _ if "failure" in statuses:
                found = "its newest event did not get through"
                todo = "Billing, Settings, Webhooks, Failed shows why; resend it there. " + where
                self._findings.wrong(_AREA, check, found, todo)
            case _:
                found = f"its newest event was sent ({', '.join(sorted(set(statuses)))})"
                self._findings.ok(_AREA, check, found)

    async def crm(self) -> None:
        check = "CRM's channels"
        channels = await self._checks.ask("crm", _AREA, check, self._zoho.crm_channels())
        if channels is None:
            return
        live = [channel for channel in channels if _watches_contacts(channel) and _is_live(channel)]
        if live:
            self._findings.ok(_AREA, check, f"{len(live)} for contacts")
            return
        self._findings.not_checked(
            _AREA,
            check,
            "none is live for contacts; workflow webhooks cannot be listed",
            "Without either, changes by staff arrive late. Workflow: CRM, Setup, Automation,"
            " Webhooks: /webhooks/crm with the header X-Webhook-Secret.",
        )

    async def desk(self, settings: GatewaySettings) -> None:
        check = "Desk"
        rows = await self._checks.ask("desk", _AREA, check, self._zoho.desk_webhooks())
        if rows is None:
            return
        where = "Desk, Setup, Developer Space, Webhooks"
        if not settings.zoho_desk_webhook_id:
            found = "ZOHO_DESK_WEBHOOK_ID is not set: Desk is polled"
            self._findings.ok(_AREA, check, found)
            return
        mine = [row for row in rows if str(row.get("id")) in settings.zoho_desk_webhook_id]
        if not mine:
            todo = f"{where}: make one for /webhooks/desk, and set the variable to its id."
            found = "Desk has none with the id of ZOHO_DESK_WEBHOOK_ID; it is polled meanwhile"
            self._findings.wrong(_AREA, check, found, todo)
        for row in mine:
            self._desk_webhook(row, where)

    def _desk_webhook(self, row: ZohoRecord, where: str) -> None:
        path = urlsplit(str(row.get("url"))).path
        if row.get("isEnabled") is False:
            self._findings.wrong(_AREA, "Desk", "it is switched off", f"{where}: switch it on.")
        elif not path.endswith("/webhooks/desk"):
            found = "its URL does not end in /webhooks/desk"
            self._findings.wrong(_AREA, "Desk", found, f"{where}: correct the URL.")
        elif "Ticket_Update" not in (row.get("subscriptions") or {}):
            found = "it does not subscribe to Ticket_Update"
            self._findings.wrong(_AREA, "Desk", found, f"{where}: add Ticket_Update.")
        elif "AUTOMATION" not in (row.get("includeEventsFrom") or []):
            found = "it omits changes by automations, such as closing tickets"
            todo = f'{where}: make it with includeEventsFrom ["AUTOMATION"]. Polling finds them.'
            self._findings.wrong(_AREA, "Desk", found, todo)
        else:
            self._findings.ok(_AREA, "Desk", "it exists and subscribes to Ticket_Update")


async def _or_none_yet(call: Awaitable[list[str] | None]) -> list[str] | str:
    statuses = await call
    return "none" if statuses is None else statuses


def _watches_contacts(channel: ZohoRecord) -> bool:
    return any(str(event).startswith("Contacts.") for event in channel.get("events") or [])


def _is_live(channel: ZohoRecord) -> bool:
    try:
        expiry = datetime.fromisoformat(str(channel.get("channel_expiry")))
    except ValueError:
        return False
    return expiry.tzinfo is not None and expiry > datetime.now(UTC)
