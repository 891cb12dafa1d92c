"""Serve Zoho Books under `/books/v3`. Calls need `organization_id`, except on organizations."""

from __future__ import annotations

from aiohttp import web

from services.zoho_sandbox.books import contacts as books_contacts
from services.zoho_sandbox.books import credit_notes as books_creditnotes
from services.zoho_sandbox.books import invoices as books_invoices
from services.zoho_sandbox.books import payments as books_payments
from services.zoho_sandbox.books import reports as books_reports
from services.zoho_sandbox.finance.dialect import FinanceDialect, FinanceRoutes, not_found, ok, page
from services.zoho_sandbox.server.routes import ApiCall
from services.zoho_sandbox.server.tables import Record
from services.zoho_sandbox.server.world import World

_TABLES = {
    "contacts": "contact_id",
    "invoices": "invoice_id",
    "customerpayments": "payment_id",
    "payment_refunds": "payment_refund_id",
    "creditnotes": "creditnote_id",
    "creditnote_refunds": "creditnote_refund_id",
    "currencies": "currency_id",
}


def add_routes(app: web.Application, world: World) -> None:
    for name, key in _TABLES.items():
        world.define("books", name, key=key)
    world.start_with(_seed)
    dialect = FinanceDialect(world, "books", world.settings.books_organization)
    routes = FinanceRoutes(app, world, product="books", prefix="/books/v3", dialect=dialect)
    settings = "ZohoBooks.settings.READ"
    routes.add(
        "GET",
        "/organizations",
        "list_organizations",
        _organizations,
        scope=settings,
        organization=False,
    )
    routes.add(
        "GET",
        "/organizations/{organization_id}",
        "get_organization",
        _organization,
        scope=settings,
        organization=False,
    )
    routes.add("GET", "/settings/currencies", "list_currencies", _currencies, scope=settings)
    books_contacts.add_routes(routes)
    books_invoices.add_routes(routes)
    books_payments.add_routes(routes)
    books_creditnotes.add_routes(routes)
    books_reports.add_routes(routes)
    routes.close()


def _seed(world: World) -> None:
    world.table("books", "currencies").load(
        [
            {
                "currency_id": world.ids.new("books"),
                "currency_code": world.settings.currency,
                "currency_name": world.settings.currency,
                "currency_symbol": "$",
                "price_precision": 2,
                "currency_format": "1,234,567.89",
                "is_base_currency": True,
                "exchange_rate": 1,
            }
        ]
    )


def _known(world: World) -> Record:
    return {
        "organization_id": world.settings.books_organization,
        "name": "Sandbox Inc",
        "is_default_org": True,
        "plan_name": "PREMIUM",
        "plan_period": "Monthly",
        "language_code": "en",
        "time_zone": world.clock.time_zone,
        "is_org_active": True,
        "currency_code": world.settings.currency,
        "currency_symbol": "$",
        "price_precision": 2,
    }


async def _organizations(call: ApiCall) -> web.Response:
    return ok(organizations=[_known(call.world)])


async def _organization(call: ApiCall) -> web.Response:
    known = _known(call.world)
    if call.path("organization_id") != known["organization_id"]:
        raise not_found("Organization")
    return ok(organization=known)


async def _currencies(call: ApiCall) -> web.Response:
    """List the base currency and those of the contacts, which an organization has to define."""
    rows = call.world.table("books", "currencies").searched()
    codes = {row["currency_code"] for row in call.world.table("books", "contacts").searched()}
    base = rows[0]
    for number, code in enumerate(sorted(codes - {base["currency_code"]}), start=1):
        names = {"currency_code": code, "currency_name": code, "currency_symbol": code}
        currency_id = str(int(base["currency_id"]) + number)
        rows.append({**base, **names, "currency_id": currency_id, "is_base_currency": False})
    return page(call, "currencies", rows, filter_name="Currencies.All")
