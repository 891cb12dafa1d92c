"""Serve Books' credit notes and their refunds.

Source: https://www.zoho.com/books/api/v3/credit-notes/.
"""

from __future__ import annotations

from aiohttp import web

from services.zoho_sandbox.books.lists import listed
from services.zoho_sandbox.finance.dialect import Rejected, invalid, money, not_found, ok, page
from services.zoho_sandbox.finance.webhooks import announce_record
from services.zoho_sandbox.server.routes import ApiCall, Routes
from services.zoho_sandbox.server.tables import Record


def add_routes(routes: Routes) -> None:
    create, read = "ZohoBooks.creditnotes.CREATE", "ZohoBooks.creditnotes.READ"
    path = "/creditnotes/{creditnote_id}"
    routes.add("POST", "/creditnotes", "create_credit_note", _create, scope=create)
    routes.add("GET", "/creditnotes", "list_credit_notes", _list, scope=read)
    routes.add("GET", "/creditnotes/refunds", "list_credit_note_refunds", _all_refunds, scope=read)
    routes.add("GET", path, "get_credit_note", _get, scope=read)
    routes.add("GET", f"{path}/refunds", "list_refunds_of_a_credit_note", _refunds, scope=read)
    routes.add("POST", f"{path}/refunds", "create_credit_note_refund", _refund, scope=create)
    routes.add("POST", f"{path}/status/void", "mark_credit_note_void", _void, scope=create)


async def _list(call: ApiCall) -> web.Response:
    exact = ("creditnote_number", "reference_number", "customer_id", "customer_name", "status")
    rows = listed(call, call.world.table("books", "creditnotes"), exact)
    return page(call, "creditnotes", rows, filter_name="Status.All")


async def _get(call: ApiCall) -> web.Response:
    return ok(creditnote=_known(call))


async def _create(call: ApiCall) -> web.Response:
    world, sent = call.world, call.json()
    contact = world.table("books", "contacts").get(str(sent.get("customer_id")))
    if contact is None:
        raise invalid("customer_id")
    total = sum(
        money(line.get("rate")) * float(line.get("quantity", 1))
        for line in sent.get("line_items") or []
    )
    now = world.clock.finance_time()
    table = world.table("books", "creditnotes")
    record = table.add(
        {
            "creditnote_id": world.ids.new("books"),
            "creditnote_number": f"CN-B{len(table) + 1:05d}",
            "status": "open",
            "reference_number": str(sent.get("reference_number", "")),
            "date": str(sent.get("date") or world.clock.today().isoformat()),
            "total": round(total, 2),
            "balance": round(total, 2),
            "customer_id": contact["contact_id"],
            "customer_name": contact["contact_name"],
            "currency_code": contact["currency_code"],
            "exchange_rate": 1,
            "created_time": now,
            "last_modified_time": now,
        }
    )
    announce_record(world, "books", "creditnote", record)
    return ok("The credit note has been created.", status=201, creditnote=record)


async def _void(call: ApiCall) -> web.Response:
    note = _known(call)
    note.update(status="void", balance=0)
    _save(call, note)
    return ok("The credit note has been marked as void.")


def _save(call: ApiCall, note: Record) -> None:
    note["last_modified_time"] = call.world.clock.finance_time()
    call.world.table("books", "creditnotes").save(note)
    announce_record(call.world, "books", "creditnote", note)


async def _refund(call: ApiCall) -> web.Response:
    """Refund a part of the note's balance, on the date of the body."""
    note, sent = _known(call), call.json()
    amount = money(sent.get("amount"))
    if amount == 0 or amount > note["balance"]:
        raise Rejected(400, 1013, "The refund is more than the credit note's balance.")
    note["balance"] = round(note["balance"] - amount, 2)
    note["status"] = "closed" if note["balance"] <= 0 else "open"
    _save(call, note)
    refund = call.world.table("books", "creditnote_refunds").add(
        {
            "creditnote_refund_id": call.world.ids.new("books"),
            "creditnote_id": note["creditnote_id"],
            "date": str(sent.get("date") or call.world.clock.today().isoformat()),
            "refund_mode": str(sent.get("refund_mode", "cash")),
            "reference_number": str(sent.get("reference_number", "")),
            "creditnote_number": note["creditnote_number"],
            "customer_name": note["customer_name"],
            "description": str(sent.get("description", "")),
            "amount_bcy": amount,
            "amount_fcy": amount,
        }
    )
    return ok(
        "The credit note amount is refunded successfully.", status=201, creditnote_refund=refund
    )


async def _all_refunds(call: ApiCall) -> web.Response:
    """List all refunds. There is no date filter, so the whole list is answered."""
    rows = call.world.table("books", "creditnote_refunds").searched()[::-1]
    return page(call, "creditnote_refunds", rows, filter_name="Refunds.All")


async def _refunds(call: ApiCall) -> web.Response:
    note = _known(call)
    rows = [
        row
        for row in call.world.table("books", "creditnote_refunds").searched()
        if row["creditnote_id"] == note["creditnote_id"]
    ]
    return page(call, "creditnote_refunds", rows, filter_name="Refunds.All")


def _known(call: ApiCall) -> Record:
    note = call.world.table("books", "creditnotes").get(call.path("creditnote_id"))
    if note is None:
        raise not_found("Credit note")
    return note
