"""Serve Billing's customers and their cards. Neither emails nor display names are unique.

Source: https://www.zoho.com/billing/api/v1/customers/ and
https://www.zoho.com/billing/kb/customers/customer-duplicate-names.html.
"""

from __future__ import annotations

import re

from aiohttp import web

from services.zoho_sandbox.billing.events import announce
from services.zoho_sandbox.finance import integration
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
from services.zoho_sandbox.finance.webhooks import announce_record
from services.zoho_sandbox.server.routes import ApiCall, Routes
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
    path = "/customers/{customer_id}"
    routes.add("POST", "/customers", "create_customer", _create, scope=create)
    routes.add("GET", "/customers", "list_customers", _list, scope=read)
    routes.add("GET", path, "retrieve_customer", _retrieve, scope=read)
    routes.add("PUT", path, "update_customer", _update, scope=update)
    routes.add("DELETE", path, "delete_customer", _delete, scope=delete)
    routes.add("POST", f"{path}/markasactive", "mark_customer_as_active", _activate, scope=create)
    routes.add(
        "POST", f"{path}/markasinactive", "mark_customer_as_inactive", _deactivate, scope=create
    )
    routes.add("GET", f"{path}/cards", "list_cards", _cards, scope=read)
    routes.add("GET", f"{path}/cards/{{card_id}}", "retrieve_card", _card, scope=read)
    routes.add("DELETE", f"{path}/cards/{{card_id}}", "delete_card", _delete_card, scope=delete)


def customer(world: World, customer_id: object) -> Record:
    """Return the customer. Raises: Rejected: there is none with this id."""
    record = world.table("billing", "customers").get(str(customer_id))
    if record is None:
        raise not_found("Customer")
    return record


def new_customer(world: World, sent: Record) -> Record:
    """Add a customer with the fields of a request.

    Raises: Rejected: a field is missing or too long.
    """
    if not sent.get("display_name"):
        raise Rejected(400, 4, "Invalid value passed for display_name")
    _check(sent)
    now = world.clock.finance_time()
    record: Record = {
        "customer_id": world.ids.new("billing"),
        **{name: sent.get(name, {} if name in _ADDRESSES else "") for name in _TAKEN},
        "is_portal_enabled": bool(sent.get("is_portal_enabled", False)),
        "currency_code": sent.get("currency_code") or world.settings.currency,
        "currency_id": world.settings.organization_id + "97",
        "price_precision": 2,
        "unused_credits": 0,
        "outstanding": 0,
        "status": "active",
        "custom_fields": custom_fields(
            world.behaviour.known_customer_fields(sent.get("custom_fields"))
        ),
        "tags": [],
        "zcrm_account_id": "",
        "zcrm_contact_id": "",
        "source": "api",
        "primary_contactperson_id": world.ids.new("billing"),
        "can_add_card": True,
        "can_add_bank_account": False,
        "is_linked_with_zohocrm": False,
        "payment_terms": sent.get("payment_terms", 0),
        "payment_terms_label": sent.get("payment_terms_label", "Due on receipt"),
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


def expire_card(world: World, card: Record, *, soon: bool) -> None:
    """Announce that a card expires within 15 days (`soon`), or let it expire now."""
    if not soon:
        card["status"] = "expired"
        world.table("billing", "cards").save(card)
    _announce_card(world, "card_expiring" if soon else "card_expired", card)


def _announce_card(world: World, event_type: str, card: Record) -> None:
    owner = customer(world, card["customer_id"])
    names = ("customer_id", "display_name", "email")
    announce(
        world, event_type, {"card": dict(card), "customer": {name: owner[name] for name in names}}
    )


def _check(sent: Record) -> None:
    for name, longest in _LENGTHS.items():
        if len(str(sent.get(name) or "")) > longest:
            raise Rejected(
                400, 15, f"Please ensure that the {name} has less than {longest + 1} characters."
            )


async def _create(call: ApiCall) -> web.Response:
    sent = call.json()
    if not sent.get("email"):
        raise Rejected(400, 4, "Invalid value passed for email")
    record = new_customer(call.world, sent)
    announce_record(call.world, "billing", "customer", record)
    return ok("The customer has been created", status=201, customer=shown(record))


async def _retrieve(call: ApiCall) -> web.Response:
    return ok(customer=shown(customer(call.world, call.path("customer_id"))))


async def _list(call: ApiCall) -> web.Response:
    """List customers. Unknown filters are ignored silently, and the whole list is answered."""
    rows = in_order(call, call.world.table("billing", "customers").searched())
    if email := call.query("email"):
        rows = [row for row in rows if str(row["email"]).lower() == email.strip().lower()]
    if part := call.query("email_contains").strip().lower():
        rows = [row for row in rows if part in str(row["email"]).lower()]
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


async def _update(call: ApiCall) -> web.Response:
    record, sent = customer(call.world, call.path("customer_id")), call.json()
    _check(sent)
    record.update({name: sent[name] for name in _TAKEN if name in sent})
    if "is_portal_enabled" in sent:
        record["is_portal_enabled"] = bool(sent["is_portal_enabled"])
    if "custom_fields" in sent:
        known = call.world.behaviour.known_customer_fields(sent["custom_fields"])
        changed = {field["api_name"]: field for field in custom_fields(known)}
        stored = {field["api_name"]: field for field in record["custom_fields"]}
        record["custom_fields"] = list((stored | changed).values())
    return ok("The customer details have been updated.", customer=shown(_saved(call, record)))


async def _delete(call: ApiCall) -> web.Response:
    record = customer(call.world, call.path("customer_id"))
    has_transactions = any(
        row["customer_id"] == record["customer_id"]
        for row in call.world.table("billing", "invoices")
    )
    if has_transactions:
        raise Rejected(400, 1014, "Customers with transactions cannot be deleted.")
    call.world.table("billing", "customers").remove(record["customer_id"])
    return ok("The customer has been deleted.")


async def _activate(call: ApiCall) -> web.Response:
    return _mark(call, "active")


async def _deactivate(call: ApiCall) -> web.Response:
    return _mark(call, "inactive")


def _mark(call: ApiCall, status: str) -> web.Response:
    record = customer(call.world, call.path("customer_id"))
    record["status"] = status
    _saved(call, record)
    return ok(f"The customer has been marked as {status}.")


def _saved(call: ApiCall, record: Record) -> Record:
    record["updated_time"] = call.world.clock.finance_time()
    call.world.table("billing", "customers").save(record)
    integration.mirror_customer(call.world, record)
    announce_record(call.world, "billing", "customer", record)
    return record


async def _cards(call: ApiCall) -> web.Response:
    record = customer(call.world, call.path("customer_id"))
    return ok(cards=cards_of(call.world, record["customer_id"]))


async def _card(call: ApiCall) -> web.Response:
    return ok(card=_known_card(call))


async def _delete_card(call: ApiCall) -> web.Response:
    card = _known_card(call)
    call.world.table("billing", "cards").remove(card["card_id"])
    _announce_card(call.world, "card_deleted", card)
    return ok("The card has been deleted.")


def _known_card(call: ApiCall) -> Record:
    card = call.world.table("billing", "cards").get(call.path("card_id"))
    if card is None or card["customer_id"] != call.path("customer_id"):
        raise not_found("Card")
    return card
