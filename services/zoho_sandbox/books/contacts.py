"""Serve Books' contacts. A contact's name is unique (code 3062), and its email is not.

Source: https://www.zoho.com/books/api/v3/contacts/.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from services.zoho_sandbox.books.lists import by_unique_field, listed
from services.zoho_sandbox.finance.dialect import (
    Rejected,
    custom_fields,
    invalid,
    not_found,
    ok,
    page,
    shown,
)
from services.zoho_sandbox.finance.webhooks import announce_record
from services.zoho_sandbox.server.routes import ApiCall, Routes
from services.zoho_sandbox.server.tables import Record

_TAKEN = [
    "contact_name",
    "company_name",
    "first_name",
    "last_name",
    "email",
    "phone",
    "mobile",
    "notes",
]
_LISTED = [
    "contact_id",
    "contact_name",
    "company_name",
    "contact_type",
    "status",
    "currency_code",
    "outstanding_receivable_amount",
    "unused_credits_receivable_amount",
    "first_name",
    "last_name",
    "email",
    "phone",
    "mobile",
    "created_time",
    "last_modified_time",
]


def add_routes(routes: Routes) -> None:
    create, read = "ZohoBooks.contacts.CREATE", "ZohoBooks.contacts.READ"
    update, path = "ZohoBooks.contacts.UPDATE", "/contacts/{contact_id}"
    routes.add("POST", "/contacts", "create_contact", _create, scope=create)
    routes.add("GET", "/contacts", "list_contacts", _list, scope=read)
    routes.add(
        "PUT", "/contacts", "update_contact_using_custom_field", _upsert, scope=(create, update)
    )
    routes.add("GET", path, "get_contact", _get, scope=read)
    routes.add("PUT", path, "update_contact", _update, scope=update)
    routes.add("POST", f"{path}/active", "mark_contact_active", _activate, scope=create)
    routes.add("POST", f"{path}/inactive", "mark_contact_inactive", _deactivate, scope=create)


async def _list(call: ApiCall) -> web.Response:
    exact = ("email", "phone", "contact_name", "company_name", "contact_type")
    rows = listed(call, call.world.table("books", "contacts"), exact, dated=False)
    if text := call.query("search_text").lower():
        rows = [row for row in rows if text in f"{row['contact_name']} {row['email']}".lower()]
    brief = [{name: row[name] for name in _LISTED if name in row} for row in rows]
    return page(call, "contacts", brief, filter_name="Status.All")


async def _get(call: ApiCall) -> web.Response:
    return ok(contact=shown(_known(call)))


async def _create(call: ApiCall) -> web.Response:
    record = _new(call, call.json())
    return ok("The contact has been added.", status=201, contact=shown(_saved(call, record)))


async def _upsert(call: ApiCall) -> web.Response:
    record = by_unique_field(call, call.world.table("books", "contacts"))
    sent = call.json()
    if record is not None:
        _apply(call, record, sent)
        return ok("Contact information has been saved.", contact=shown(_saved(call, record)))
    record = _new(call, sent)
    return ok("The contact has been added.", status=201, contact=shown(_saved(call, record)))


async def _update(call: ApiCall) -> web.Response:
    record = _known(call)
    _apply(call, record, call.json())
    return ok("Contact information has been saved.", contact=shown(_saved(call, record)))


async def _activate(call: ApiCall) -> web.Response:
    return _mark(call, "active")


async def _deactivate(call: ApiCall) -> web.Response:
    return _mark(call, "inactive")


def _mark(call: ApiCall, status: str) -> web.Response:
    record = _known(call)
    record["status"] = status
    _saved(call, record)
    return ok(f"The contact has been marked as {status}.")


def _known(call: ApiCall) -> Record:
    record = call.world.table("books", "contacts").get(call.path("contact_id"))
    if record is None:
        raise not_found("Contact")
    return record


def _new(call: ApiCall, sent: dict[str, Any]) -> Record:
    if not sent.get("contact_name"):
        raise invalid("contact_name")
    record: Record = {
        "contact_id": call.world.ids.new("books"),
        **dict.fromkeys(_TAKEN, ""),
        "contact_type": "customer",
        "status": "active",
        "currency_code": sent.get("currency_code") or call.world.settings.currency,
        "outstanding_receivable_amount": 0,
        "unused_credits_receivable_amount": 0,
        "custom_fields": custom_fields(sent.get("custom_fields")),
        "created_time": call.world.clock.finance_time(),
    }
    _apply(call, record, sent)
    return record


def _apply(call: ApiCall, record: Record, sent: dict[str, Any]) -> None:
    name = sent.get("contact_name")
    for other in call.world.table("books", "contacts"):
        if other["contact_name"] == name and other["contact_id"] != record["contact_id"]:
            raise Rejected(400, 3062, f"The customer {name!r} already exists. Specify another.")
    record.update({field: sent[field] for field in _TAKEN if field in sent})
    persons = sent.get("contact_persons") or []
    if persons:
        record["contact_persons"] = persons  # a nested list replaces the former one whole
        for field in ("first_name", "last_name", "email", "phone", "mobile"):
            record[field] = persons[0].get(field, record[field])


def _saved(call: ApiCall, record: Record) -> Record:
    record["last_modified_time"] = call.world.clock.finance_time()
    call.world.table("books", "contacts").save(record)
    announce_record(call.world, "books", "contact", record)
    return record
