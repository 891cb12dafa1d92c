"""Check Billing and Books at Zoho: the organization, the fields that carry our ids, webhooks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import asyncpg

from services.billing_worker.repositories.organizations import Organizations
from services.operator.console.advice import advice_for
from services.operator.doctor.findings import Findings
from services.operator.doctor.products.product_checks import (
    CUSTOM_FIELDS,
    ORGANIZATIONS,
    WEBHOOKS,
    WITHOUT_FIELD,
    ProductChecks,
)
from shared.zoho.products.books.time_zones import zone_of

WITHOUT_BOOKS = (
    "not used (ZOHO_HAS_BOOKS is false): invoices, payments and reports come from Billing alone"
)


class FinanceChecks(ProductChecks):
    to_switch_off = (
        (
            "customer portal",
            "Billing and Books, Settings, Customer Portal: off, or at least no invitation mails.",
        ),
        (
            "payment links",
            (
                "Billing and Books, Settings, Online Payments: no gateway that customers pay by"
                " themselves; Templates, Invoice: no pay button, no link to view it online."
            ),
        ),
        (
            "Zoho's own mails",
            (
                "Billing, Settings, Email Notifications, and Books, Settings, Reminders: off for"
                " customers (invoices, payments, dunning, trials). The application notifies them."
            ),
        ),
    )

    async def check_organization(self) -> None:
        settings = self._settings
        if settings.finance is None:
            missing = "ZOHO_ORGANIZATION_ID is not set"
            self._findings.not_checked(ORGANIZATIONS, "Billing, Books", missing)
            return
        await self._billing(settings.finance.zoho_free_plan_codes)
        if not settings.finance.zoho_has_books:
            self._findings.ok(ORGANIZATIONS, "Books", WITHOUT_BOOKS)
            return
        plan = settings.zoho.zoho_books_plan if settings.zoho else None
        await self._books(settings.finance.books_organization_id, plan)

    async def check_custom_fields(self) -> None:
        settings = self._settings.finance
        if settings is None:
            return
        await self._field_on_a_record(
            "billing",
            "ZOHO_BILLING_USER_FIELD",
            settings.zoho_billing_user_field,
            self._zoho.billing_customer_fields,
            "customer",
            "Billing, Settings, Preferences, Customers, Custom Fields: it has to exist there.",
        )
        if not settings.zoho_has_books:
            return
        await self._field_on_a_record(
            "books",
            "ZOHO_BOOKS_INVOICE_FIELD",
            settings.zoho_books_invoice_field,
            self._zoho.books_invoice_fields,
            "invoice",
            "Books, Settings, Preferences, Invoices, Field Customization: it has to exist there,"
            " with Prevent Duplicate Values on.",
        )

    async def check_webhooks(self) -> None:
        await self._billing_webhooks()
        if self._settings.finance is not None and not self._settings.finance.zoho_has_books:
            return
        self._findings.not_checked(
            WEBHOOKS,
            "Books",
            "no documented call lists Books' webhooks",
            "Books, Settings, Automation, Webhooks: /webhooks/books, secured with"
            " ZOHO_WEBHOOK_SECRET, fired by a workflow rule on invoices.",
        )

    async def _billing(self, free_plans: Sequence[str]) -> None:
        area, check = ORGANIZATIONS, "Billing"
        codes = await self._checks.ask("billing", area, check, self._zoho.plan_codes())
        if codes is None:
            return
        self._findings.ok(area, check, f"answers, with {len(codes)} plans")
        if unknown := [code for code in free_plans if code not in codes]:
            self._findings.wrong(
                area,
                "ZOHO_FREE_PLAN_CODES",
                f"Billing has no plan {', '.join(unknown)}",
                "Correct the code: until then, users of the free plan are Paid Tier.",
            )

    async def _books(self, organization_id: str, configured: str | None) -> None:
        area, check = ORGANIZATIONS, "Books"
        rows = await self._checks.ask("books", area, check, self._zoho.books_organizations())
        if rows is None:
            return
        mine = [row for row in rows if str(row.get("organization_id")) == organization_id]
        if not mine:
            found = f"ZOHO_…ORGANIZATION_ID is none of the {len(rows)} that this user belongs to"
            self._findings.wrong(area, check, found, advice_for("organization")[1])
            return
        plan = str(mine[0].get("plan_name") or "").lower()
        self._findings.ok(area, check, f"answers, plan {plan}" if plan else "answers")
        self._checks.compare_plan("books", "ZOHO_BOOKS_PLAN", configured, plan)
        self._time_zone(str(mine[0].get("time_zone") or ""))

    def _time_zone(self, name: str) -> None:
        if zone_of(name) is None:
            self._findings.wrong(
                ORGANIZATIONS,
                "Books' time zone",
                f"{name!r} is an unknown time zone: reports take UTC's day as today",
                "Choose another time zone in Books, under Settings, Organization Profile.",
            )

    async def _field_on_a_record(
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
            self._findings.ok(CUSTOM_FIELDS, variable, WITHOUT_FIELD)
            return
        names = await self._checks.ask(product, CUSTOM_FIELDS, variable, _never_none(read))
        if names is None:
            return
        if name in names:
            self._findings.ok(CUSTOM_FIELDS, variable, f"{name} is on the newest {record}")
        else:
            found = f"{name} is not on the newest {record}, if there is one; no call lists the rest"
            self._findings.not_checked(CUSTOM_FIELDS, variable, found, todo)

    async def _billing_webhooks(self) -> None:
        check = "Billing"
        where = (
            "Billing, Settings, Webhooks: /webhooks/billing, secured with ZOHO_WEBHOOK_SECRET,"
            " events of subscriptions, payments and invoices."
        )
        statuses = await self._checks.ask(
            "billing", WEBHOOKS, check, _or_none_yet(self._zoho.newest_event_deliveries())
        )
        match statuses:
            case None:
                return
            case "none":
                self._findings.not_checked(WEBHOOKS, check, "nothing has happened there yet", where)
            case []:
                found = "its newest event was sent to no webhook"
                self._findings.wrong(WEBHOOKS, check, found, where)
            case _ if "failure" in statuses:
                found = "its newest event did not get through"
                todo = "Billing, Settings, Webhooks, Failed shows why; resend it there. " + where
                self._findings.wrong(WEBHOOKS, check, found, todo)
            case _:
                found = f"its newest event was sent ({', '.join(sorted(set(statuses)))})"
                self._findings.ok(WEBHOOKS, check, found)


async def check_customer_field_form(findings: Findings, pool: asyncpg.Pool, org: str) -> None:
    """Report how Billing takes custom fields of customers, where billing-worker has found out."""
    try:
        form = await Organizations(pool).customer_field_form(org)
    except asyncpg.UndefinedTableError:
        return  # billing-worker has not run yet
    if form is not None:
        named = "label" if form == "label" else "API name"
        found = f"Billing takes our field by its {named} alone, and customers are created so"
        findings.ok(CUSTOM_FIELDS, "Billing's customers", found)


async def _or_none_yet(call: Awaitable[list[str] | None]) -> list[str] | str:
    statuses = await call
    return "none" if statuses is None else statuses


async def _never_none(read: Callable[[], Awaitable[set[str] | None]]) -> set[str]:
    return await read() or set()
