"""Check the custom fields at Zoho that carry our ids.

Each is optional: without its variable, the id is written into a text field instead.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from services.operator.doctor.findings import Findings
from services.operator.doctor.servers import DoctorSettings
from services.operator.doctor.zoho import ZohoChecks
from shared.zoho.products.setup import ZohoSetup

_AREA = "custom fields"
_WITHOUT = "not set: the id is written into a text field instead, and found by searching"


async def check_fields(
    findings: Findings, checks: ZohoChecks, zoho: ZohoSetup, settings: DoctorSettings
) -> None:
    fields = _Fields(findings, checks)
    if settings.finance is not None:
        await fields.on_a_record(
            "billing",
            "ZOHO_BILLING_USER_FIELD",
            settings.finance.zoho_billing_user_field,
            zoho.billing_customer_fields,
            "customer",
            "Billing, Settings, Preferences, Customers, Custom Fields: it has to exist there.",
        )
        await fields.on_a_record(
            "books",
            "ZOHO_BOOKS_INVOICE_FIELD",
            settings.finance.zoho_books_invoice_field,
            zoho.books_invoice_fields,
            "invoice",
            "Books, Settings, Preferences, Invoices, Field Customization: it has to exist there,"
            " with Prevent Duplicate Values on.",
        )
    if settings.crm is not None:
        await fields.of_crm(
            zoho, settings.crm.zoho_crm_user_field, settings.crm.zoho_crm_tier_field
        )
    if settings.desk is not None:
        await fields.of_desk(zoho, settings.desk.zoho_desk_escalation_field)


class _Fields:
    def __init__(self, findings: Findings, checks: ZohoChecks) -> None:
        self._findings = findings
        self._checks = checks

    async def on_a_record(
        self,
        product: str,
        variable: str,
        name: str | None,
        read: Callable[[], Awaitable[set[str] | None]],
        record: str,
        todo: str,
    ) -> None:
        """Look for the field on the newest record.

        Billing and Books show custom fields only on records, and only those that have a value.
        """
        if not name:
            self._findings.ok(_AREA, variable, _WITHOUT)
            return
        names = await self._checks.ask(product, _AREA, variable, _never_none(read))
        if names is None:
            return
        if name in names:
            self._findings.ok(_AREA, variable, f"{name} is on the newest {record}")
        else:
            found = f"{name} is not on the newest {record}, if there is one; no call lists the rest"
            self._findings.not_checked(_AREA, variable, found, todo)

    async def of_crm(self, zoho: ZohoSetup, user: str | None, tier: str | None) -> None:
        if not user and not tier:
            self._findings.ok(_AREA, "ZOHO_CRM_USER_FIELD, ZOHO_CRM_TIER_FIELD", _WITHOUT)
            return
        call = zoho.crm_contact_fields()
        fields = await self._checks.ask("crm", _AREA, "fields of CRM's contacts", call)
        if fields is None:
            return
        where = "CRM, Setup, Modules and Fields, Contacts"
        for variable, name in (("ZOHO_CRM_USER_FIELD", user), ("ZOHO_CRM_TIER_FIELD", tier)):
            if not name:
                self._findings.ok(_AREA, variable, _WITHOUT)
            elif name not in fields:
                self._absent(variable, name, where)
            elif name == user and not fields[name]:
                self._findings.wrong(
                    _AREA,
                    variable,
                    f"{name} is there, but not unique",
                    f"{where}: tick Do not allow duplicate values, or two contacts may be made.",
                )
            else:
                self._findings.ok(_AREA, variable, f"{name} is there")

    async def of_desk(self, zoho: ZohoSetup, name: str | None) -> None:
        variable = "ZOHO_DESK_ESCALATION_FIELD"
        if not name:
            self._findings.ok(_AREA, variable, _WITHOUT)
            return
        names = await self._checks.ask("desk", _AREA, variable, zoho.desk_ticket_fields())
        if names is None:
            return
        if name in names:
            self._findings.ok(_AREA, variable, f"{name} is there")
        else:
            self._absent(variable, name, "Desk, Setup, Layouts and Fields, Tickets")

    def _absent(self, variable: str, name: str, where: str) -> None:
        todo = f"{where}: make it, or set {variable} to its API name."
        self._findings.wrong(_AREA, variable, f"Zoho has no field {name}", todo)


async def _never_none(read: Callable[[], Awaitable[set[str] | None]]) -> set[str]:
    return await read() or set()
