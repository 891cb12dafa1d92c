"""Check Desk at Zoho: organization, department, the field that carries our id, webhooks."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar
from urllib.parse import urlsplit

import aiohttp

from services.operator.console.advice import advice_for
from services.operator.doctor.findings import Findings
from services.operator.doctor.products.product_checks import (
    CUSTOM_FIELDS,
    ORGANIZATIONS,
    WEBHOOKS,
    WITHOUT_FIELD,
    ProductChecks,
)
from services.operator.settings import GatewaySettings
from shared.errors import ZohoRejected
from shared.zoho.products.setup import ZohoRecord

_TIMEOUT = aiohttp.ClientTimeout(total=10.0)
_T = TypeVar("_T")


class DeskChecks(ProductChecks):
    to_switch_off = (
        (
            "Desk's own mails",
            (
                "Desk, Setup, Automation, Notification Rules: off for contacts (ticket received,"
                " closed, comment); Channels, Help Center: no sign-up, no invitation."
            ),
        ),
    )

    async def check_organization(self) -> None:
        area, check = ORGANIZATIONS, "Desk"
        settings = self._settings.desk
        if settings is None:
            self._findings.not_checked(area, check, "ZOHO_DESK_… is not set")
            return
        rows = await self._checks.ask("desk", area, check, self._zoho.desk_organizations())
        if rows is not None and not any(
            str(row.get("id")) == settings.zoho_desk_org_id for row in rows
        ):
            found = f"ZOHO_DESK_ORG_ID is none of the {len(rows)} that this user belongs to"
            self._findings.wrong(area, check, found, advice_for("organization")[1])
            rows = None
        if rows is not None:
            self._findings.ok(area, check, "answers")
        await self._department(settings.zoho_desk_department_id)

    async def check_custom_fields(self) -> None:
        settings = self._settings.desk
        if settings is None:
            return
        name = settings.zoho_desk_escalation_field
        variable = "ZOHO_DESK_ESCALATION_FIELD"
        if not name:
            self._findings.ok(CUSTOM_FIELDS, variable, WITHOUT_FIELD)
            return
        names = await self._checks.ask(
            "desk", CUSTOM_FIELDS, variable, self._zoho.desk_ticket_fields()
        )
        if names is None:
            return
        if name in names:
            self._findings.ok(CUSTOM_FIELDS, variable, f"{name} is there")
        else:
            self._field_is_absent(variable, name, "Desk, Setup, Layouts and Fields, Tickets")

    async def check_webhooks(self) -> None:
        settings = self._settings.gateway
        if settings is None or self._settings.desk is None:
            return
        check = "Desk"
        rows = await self._checks.ask("desk", WEBHOOKS, check, self._zoho.desk_webhooks())
        if rows is None:
            return
        where = "Desk, Setup, Developer Space, Webhooks"
        if not settings.zoho_desk_webhook_id:
            found = "ZOHO_DESK_WEBHOOK_ID is not set: Desk is polled"
            self._findings.ok(WEBHOOKS, check, found)
            return
        mine = [row for row in rows if str(row.get("id")) in settings.zoho_desk_webhook_id]
        if not mine:
            todo = f"{where}: make one for /webhooks/desk, and set the variable to its id."
            found = "Desk has none with the id of ZOHO_DESK_WEBHOOK_ID; it is polled meanwhile"
            self._findings.wrong(WEBHOOKS, check, found, todo)
        for row in mine:
            self._webhook(row, where)

    async def _department(self, department_id: str) -> None:
        area, check = ORGANIZATIONS, "Desk's department"
        todo = "Set ZOHO_DESK_DEPARTMENT_ID to one of Desk, Setup, Departments."
        try:
            department = await self._checks.ask(
                "desk", area, check, _found(self._zoho.desk_department(department_id))
            )
        except LookupError:
            self._findings.wrong(area, check, "there is none of this id", todo)
            return
        if department is not None and department.get("isEnabled") is False:
            self._findings.wrong(area, check, "it is disabled", todo)
        elif department is not None:
            self._findings.ok(area, check, "is there")

    def _webhook(self, row: ZohoRecord, where: str) -> None:
        path = urlsplit(str(row.get("url"))).path
        if row.get("isEnabled") is False:
            self._findings.wrong(WEBHOOKS, "Desk", "it is switched off", f"{where}: switch it on.")
        elif not path.endswith("/webhooks/desk"):
            found = "its URL does not end in /webhooks/desk"
            self._findings.wrong(WEBHOOKS, "Desk", found, f"{where}: correct the URL.")
        elif "Ticket_Update" not in (row.get("subscriptions") or {}):
            found = "it does not subscribe to Ticket_Update"
            self._findings.wrong(WEBHOOKS, "Desk", found, f"{where}: add Ticket_Update.")
        elif "AUTOMATION" not in (row.get("includeEventsFrom") or []):
            found = "it omits changes by automations, such as closing tickets"
            todo = f'{where}: make it with includeEventsFrom ["AUTOMATION"]. Polling finds them.'
            self._findings.wrong(WEBHOOKS, "Desk", found, todo)
        else:
            self._findings.ok(WEBHOOKS, "Desk", "it exists and subscribes to Ticket_Update")


async def check_gateway(
    findings: Findings, settings: GatewaySettings | None, session: aiohttp.ClientSession
) -> None:
    """Send the GET with which Desk checks a URL before it accepts it."""
    if settings is None or settings.gateway_url is None:
        findings.not_checked(
            WEBHOOKS,
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
        findings.wrong(WEBHOOKS, "webhook-gateway", found, todo)
        return
    if status == 200:
        findings.ok(WEBHOOKS, "webhook-gateway", "answers Desk's handshake")
    else:
        findings.wrong(WEBHOOKS, "webhook-gateway", f"answers {status} instead of 200", todo)


async def _found(call: Awaitable[_T]) -> _T:
    """Raises LookupError when Zoho knows no such thing."""
    try:
        return await call
    except ZohoRejected as error:
        if error.status == 404:
            raise LookupError from error
        raise
