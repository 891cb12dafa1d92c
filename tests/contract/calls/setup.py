"""Call each method of `ZohoSetup`."""

from __future__ import annotations

from typing import Final

from tests.contract.calls.given import Calls, a_book_invoice, a_customer
from tests.contract.conftest import Clients

CALLS: Final = Calls()


@CALLS("plan_codes")
async def _(zoho: Clients) -> None:
    await zoho.setup.plan_codes()


@CALLS("billing_customer_fields")
async def _(zoho: Clients) -> None:
    await a_customer(zoho)
    await zoho.setup.billing_customer_fields()


@CALLS("newest_event_deliveries")
async def _(zoho: Clients) -> None:
    await a_book_invoice(zoho)
    await zoho.setup.newest_event_deliveries()


@CALLS("books_organizations")
async def _(zoho: Clients) -> None:
    await zoho.setup.books_organizations()


@CALLS("books_invoice_fields")
async def _(zoho: Clients) -> None:
    await a_book_invoice(zoho)
    await zoho.setup.books_invoice_fields()


@CALLS("crm_edition")
async def _(zoho: Clients) -> None:
    await zoho.setup.crm_edition()


@CALLS("crm_contact_fields")
async def _(zoho: Clients) -> None:
    await zoho.setup.crm_contact_fields()


@CALLS("crm_channels")
async def _(zoho: Clients) -> None:
    await zoho.setup.crm_channels()


@CALLS("desk_organizations")
async def _(zoho: Clients) -> None:
    await zoho.setup.desk_organizations()


@CALLS("desk_department")
async def _(zoho: Clients) -> None:
    await zoho.setup.desk_department(zoho.raw.settings.desk_department_id)


@CALLS("desk_ticket_fields")
async def _(zoho: Clients) -> None:
    await zoho.setup.desk_ticket_fields()


@CALLS("desk_webhooks")
async def _(zoho: Clients) -> None:
    await zoho.setup.desk_webhooks()
