"""Customers and their cards. Emails and display names may be had twice; nothing is unique.

Source: oauth-billing-books §2.4, §2.6; https://www.zoho.com/billing/api/v1/customers/.
"""

from __future__ import annotations

import re

from aiohttp import web

from services.zoho_sandbox.books import from_billing as integration
from services.zoho_sandbox.finance.dialect import (
    Rejected,
    custom_fields,
    custom_value,
    in_order,
    not_found,
    ok,
    page,
    shown,
)
from services.zoho_sandbox.server.routes import Call, Routes
from services.zoho_sandbox.server.tables import Record
from services.zoho_sandbox.server.world import World

_LENGTHS = {"display_name": 200, "company_name": 200, "first_name": 100, "last_name": 100,
            "email": 100, "phone": 50, "mobile": 50, "salutation": 25}  # fmt: skip
_ADDRESSES = ("billing_address", "shipping_address")
_TAKEN = [
    "display_name",
    "salutation",
    "first_name",
    "last_name",
    "email",
    "company_name",
    "phone",
    "mobile",
    "website",
    "department",
    "designation",
    "notes",
    "payment_terms",
    "payment_terms_label",
    *_ADDRESSES,
]
_LISTED = [
    "customer_id",
    "display_name",
    "salutation",
    "first_name",
    "last_name",
    "email",
    "company_name",
    "phone",
    "mobile",
    "website",
    "department",
    "designation",
    "currency_code",
    "unused_credits",
    "outstanding",
    "status",
    "updated_time",
    "created_time",
]
_CUSTOM_FILTER = re.compile(r"(cf_\w+)\.Equals\((.*)\)")


def add_routes(routes: Routes) -> None:
    create, read = "ZohoSubscriptions.customers.CREATE", "ZohoSubscriptions.customers.READ"
    update, delete = "ZohoSubscriptions.customers.UPDATE", "ZohoSubscriptions.customers.DELETE"
    one = "/customers/{customer_id}"
    routes.add("POST", "/customers", "create_customer", _create, scope=create)
    routes.add("GET", "/customers", "list_customers", _list, scope=read)
    routes.add("GET", one, "retrieve_customer", _retrieve, scope=read)
    routes.add("PUT", one, "update_customer", _update, scope=update)
    routes.add("DELETE", one, "delete_customer", _delete, scope=delete)
    routes.add("POST", f"{one}/markasactive", "mark_customer_as_active", _activate, scope=create)
    routes.add(
        "POST", f"{one}/markasinactive", "mark_customer_as_inactive", _deactivate, scope=create
    )
    routes.add("GET", f"{one}/cards", "list_cards", _cards, scope=read)
    routes.add("GET", f"{one}/cards/{{card_id}}", "retrieve_card", _card, scope=read)
    routes.add("DELETE", f"{one}/cards/{{card_id}}", "delete_card", _delete_card, scope=delete)


def customer(world: World, customer_id: object) -> Record:
    """Raises: Rejected: no such customer."""
    found = world.table("billing", "customers").get(str(customer_id))
    if found is None:
        raise not_found("Customer")
    return found


def new_customer(world: World, given: Record) -> Record:
    """A customer from the fields of a request. Raises: Rejected: one is missing or too long."""
    if not given.get("display_name"):
        raise Rejected(400, 4, "Invalid value passed for display_name")
    _check(given)
    now = world.clock.finance_time()
    record: Record = {
        "customer_id": world.ids.new("billing"),
        **{name: given.get(name, {} if name in _ADDRESSES else "") for name in _TAKEN},
        "is_portal_enabled": bool(given.get("is_portal_enabled", False)),
        "currency_code": given.get("currency_code") or world.settings.currency,
        "currency_id": world.settings.organization_id + "97",
        "price_precision": 2,
        "unused_credits": 0,
        "outstanding": 0,
        "status": "active",
        "custom_fields": custom_fields(given.get("custom_fields")),
        "tags": [],
        "zcrm_account_id": "",
        "zcrm_contact_id": "",
        "source": "api",
        "primary_contactperson_id": world.ids.new("billing"),
        "can_add_card": True,
        "can_add_bank_account": False,
        "is_linked_with_zohocrm": False,
        "payment_terms": given.get("payment_terms", 0),
        "payment_terms_label": given.get("payment_terms_label", "Due on receipt"),
        "created_time": now,
        "updated_time": now,
    }
    world.table("billing", "customers").add(record)
    integration.mirror_customer(world, record)
    return record


def cards_of(world: World, customer_id: str) -> list[Record]:
    return [card for card in world.table("billing", "cards") if card["customer_id"] == customer_id]


def add_card(world: World, customer_id: str, last_four: str = "1111") -> Record:
    now = world.clock.finance_time()
    return world.table("billing", "cards").add(
        {
            "card_id": world.ids.new("billing"),
            "customer_id": customer_id,
            "status": "active",
            "last_four_digits": int(last_four),
            "expiry_month": 12,
            "expiry_year": world.clock.today().year + 4,
            "payment_gateway": "test_gateway",
            "created_time": now,
            "updated_time": now,
        }
    )


def _check(given: Record) -> None:
    for name, longest in _LENGTHS.items():
        if len(str(given.get(name) or "")) > longest:
            raise Rejected(
                400, 15, f"Please ensure that the {name} has less than {longest + 1} characters."
            )


async def _create(call: Call) -> web.Response:
    given = call.json()
    if not given.get("email"):
        raise Rejected(400, 4, "Invalid value passed for email")
    return ok(
        "The customer has been created", status=201, customer=shown(new_customer(call.world, given))
    )


async def _retrieve(call: Call) -> web.Response:
    return ok(customer=shown(customer(call.world, call.path("customer_id"))))


async def _list(call: Call) -> web.Response:
    """Filters it does not know are ignored without a word, and the whole list comes back."""
    rows = in_order(call, call.world.table("billing", "customers").searched())
    if email := call.query("email"):
        rows = [row for row in rows if str(row["email"]).lower() == email.strip().lower()]
    if text := call.query("search_text").lower():
        fields = ("display_name", "email", "first_name", "last_name", "phone")
        rows = [row for row in rows if any(text in str(row[name]).lower() for name in fields)]
    for name in ("phone", "display_name"):
        if wanted := call.query(name):
            rows = [row for row in rows if row[name] == wanted]
    rows = _filtered(rows, call.query("filter_by"))
    listed = [{name: row[name] for name in _LISTED if name in row} for row in rows]
    return page(call, "customers", listed, filter_name="Status.All")


def _filtered(rows: list[Record], filter_by: str) -> list[Record]:
    if match := _CUSTOM_FILTER.fullmatch(filter_by):
        name, value = match.groups()
        return [row for row in rows if str(custom_value(row, name)) == value]
    if filter_by in ("Status.Active", "Status.Inactive"):
        status = filter_by.partition(".")[2].lower()
        return [row for row in rows if row["status"] == status]
    return rows


async def _update(call: Call) -> web.Response:
    found, given = customer(call.world, call.path("customer_id")), call.json()
    _check(given)
    found.update({name: given[name] for name in _TAKEN if name in given})
    if "is_portal_enabled" in given:
        found["is_portal_enabled"] = bool(given["is_portal_enabled"])
    if "custom_fields" in given:
        fresh = {field["api_name"]: field for field in custom_fields(given["custom_fields"])}
        kept = {field["api_name"]: field for field in found["custom_fields"]}
        found["custom_fields"] = list((kept | fresh).values())
    return ok("The customer details have been updated.", customer=shown(_saved(call, found)))


async def _delete(call: Call) -> web.Response:
    found = customer(call.world, call.path("customer_id"))
    has_transactions = any(
        row["customer_id"] == found["customer_id"]
        for row in call.world.table("billing", "invoices")
    )
    if has_transactions:
        raise Rejected(400, 1014, "Customers with transactions cannot be deleted.")
    call.world.table("billing", "customers").remove(found["customer_id"])
    return ok("The customer has been deleted.")


async def _activate(call: Call) -> web.Response:
    return _mark(call, "active")


async def _deactivate(call: Call) -> web.Response:
    return _mark(call, "inactive")


def _mark(call: Call, status: str) -> web.Response:
    found = customer(call.world, call.path("customer_id"))
    found["status"] = status
    _saved(call, found)
    return ok(f"The customer has been marked as {status}.")


def _saved(call: Call, found: Record) -> Record:
    found["updated_time"] = call.world.clock.finance_time()
    call.world.table("billing", "customers").save(found)
    integration.mirror_customer(call.world, found)
    return found


async def _cards(call: Call) -> web.Response:
    found = customer(call.world, call.path("customer_id"))
    return ok(cards=cards_of(call.world, found["customer_id"]))


async def _card(call: Call) -> web.Response:
    return ok(card=_known_card(call))


async def _delete_card(call: Call) -> web.Response:
    card = _known_card(call)
    call.world.table("billing", "cards").remove(card["card_id"])
    return ok("The card has been deleted.")


def _known_card(call: Call) -> Record:
    card = call.world.table("billing", "cards").get(call.path("card_id"))
    if card is None or card["customer_id"] != call.path("customer_id"):
        raise not_found("Card")
    return card
