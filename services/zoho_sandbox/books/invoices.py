"""Serve Books' invoices: copies of Billing's, and its own.

The upsert by a unique custom field is the only idempotent create.
Source: https://www.zoho.com/books/api/v3/invoices/.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from services.zoho_sandbox.books.lists import by_unique_field, listed
from services.zoho_sandbox.finance.dialect import (
    Rejected,
    custom_fields,
    custom_value,
    invalid,
    money,
    not_found,
    ok,
    page,
    shown,
)
from services.zoho_sandbox.finance.integration import reflect_invoice
from services.zoho_sandbox.finance.invoice_pdf import invoice_pdf
from services.zoho_sandbox.finance.invoice_status import UNPAID, current_status, has_status
from services.zoho_sandbox.finance.webhooks import announce_record
from services.zoho_sandbox.server.routes import ApiCall, Routes
from services.zoho_sandbox.server.tables import Record
from services.zoho_sandbox.server.world import World

_LISTED = [
    "invoice_id",
    "customer_name",
    "customer_id",
    "email",
    "status",
    "invoice_number",
    "reference_number",
    "date",
    "due_date",
    "currency_code",
    "total",
    "balance",
    "created_time",
    "last_modified_time",
    "write_off_amount",
    "exchange_rate",
    "custom_fields",
]


def add_routes(routes: Routes) -> None:
    create, read = "ZohoBooks.invoices.CREATE", "ZohoBooks.invoices.READ"
    update, path = "ZohoBooks.invoices.UPDATE", "/invoices/{invoice_id}"
    routes.add("POST", "/invoices", "create_invoice", _create, scope=create)
    routes.add("GET", "/invoices", "list_invoices", _list, scope=read)
    routes.add(
        "PUT", "/invoices", "update_invoice_using_custom_field", _upsert, scope=(create, update)
    )
    routes.add("GET", path, "get_invoice", _get, scope=read)
    routes.add("PUT", path, "update_invoice", _update, scope=update)
    routes.add("POST", f"{path}/status/sent", "mark_invoice_sent", _sent, scope=create)
    routes.add("POST", f"{path}/status/void", "mark_invoice_void", _void, scope=create)
    routes.add("POST", f"{path}/status/draft", "mark_invoice_draft", _draft, scope=create)
    routes.add("POST", f"{path}/writeoff", "write_off_invoice", _write_off, scope=create)
    routes.add(
        "POST",
        f"{path}/writeoff/cancel",
        "cancel_write_off_invoice",
        _cancel_write_off,
        scope=create,
    )
    routes.add("GET", f"{path}/payments", "list_invoice_payments", _payments, scope=read)


def invoice(world: World, invoice_id: object) -> Record:
    """Return the invoice. Raises: Rejected: Books has none with this id. Billing's are others."""
    record = world.table("books", "invoices").get(str(invoice_id))
    if record is None:
        raise not_found("Invoice")
    return record


async def _list(call: ApiCall) -> web.Response:
    """List invoices. `response_option` is ignored."""
    exact = ("invoice_number", "reference_number", "customer_id", "customer_name", "email",
             "due_date")  # fmt: skip
    rows = listed(call, call.world.table("books", "invoices"), exact)
    kind, _, status = call.query("filter_by").partition(".")
    for wanted in (call.query("status"), status if kind == "Status" else ""):
        rows = [row for row in rows if has_status(call.world, row, wanted)]
    if text := call.query("search_text").lower():
        rows = [
            row for row in rows if text in f"{row['invoice_number']} {row['customer_name']}".lower()
        ]
    brief = [
        {name: value for name, value in _shown(call.world, row).items() if name in _LISTED}
        for row in rows
    ]
    return page(call, "invoices", brief, filter_name="Status.All")


async def _get(call: ApiCall) -> web.Response:
    record = invoice(call.world, call.path("invoice_id"))
    accept = call.query("accept") or call.request.headers.get("Accept", "")
    if accept in ("pdf", "application/pdf"):
        body = invoice_pdf(record["invoice_number"], record["customer_name"], record["total"],
                           record["currency_code"], record["invoice_url"])  # fmt: skip
        return web.Response(body=body, content_type="application/pdf")
    return ok(invoice=_shown(call.world, record))


async def _create(call: ApiCall) -> web.Response:
    record = _new(call, call.json())
    return ok("The invoice has been created.", status=201, invoice=shown(_saved(call, record)))


async def _upsert(call: ApiCall) -> web.Response:
    """Update by the unique field of the headers, or insert what the body holds.

    No source says that an insert stores the field of the headers, so only the body's does.
    """
    record = by_unique_field(call, call.world.table("books", "invoices"))
    sent = call.json()
    if record is not None:
        _apply(call.world, record, sent)
        return ok("Invoice information has been updated.", invoice=shown(_saved(call, record)))
    record = _new(call, sent)
    return ok("The invoice has been created.", status=201, invoice=shown(_saved(call, record)))


async def _update(call: ApiCall) -> web.Response:
    record = invoice(call.world, call.path("invoice_id"))
    _apply(call.world, record, call.json())
    return ok("Invoice information has been updated.", invoice=shown(_saved(call, record)))


def _new(call: ApiCall, sent: dict[str, Any]) -> Record:
    world = call.world
    contact = world.table("books", "contacts").get(str(sent.get("customer_id")))
    if contact is None:
        raise invalid("customer_id")
    if not sent.get("line_items"):
        raise invalid("line_items")
    fields = custom_fields(sent.get("custom_fields"))
    _refuse_second(world, fields)
    today = world.clock.today().isoformat()
    record: Record = {
        "invoice_id": world.ids.new("books"),
        "invoice_number": f"BK-{len(world.table('books', 'invoices')) + 1:06d}",
        "status": "sent" if call.query("send") == "true" else "draft",
        "date": today,
        "due_date": today,
        "customer_id": contact["contact_id"],
        "customer_name": contact["contact_name"],
        "email": contact["email"],
        "currency_code": sent.get("currency_code") or world.settings.currency,
        "exchange_rate": 1,
        "reference_number": "",
        "payment_made": 0,
        "credits_applied": 0,
        "write_off_amount": 0,
        "price_precision": 2,
        "custom_fields": fields,
        "invoice_url": "https://books.zoho.com/SecurePayment?CInvoiceID="
        f"2-{world.ids.new('books')}",
        "created_time": world.clock.finance_time(),
    }
    if call.query("ignore_auto_number_generation") == "true" and sent.get("invoice_number"):
        record["invoice_number"] = str(sent["invoice_number"])
    _apply(world, record, {**sent, "custom_fields": None})
    return record


def _refuse_second(world: World, fields: list[Record]) -> None:
    name = world.settings.books_invoice_field
    value = custom_value({"custom_fields": fields}, name)
    taken = (custom_value(row, name) for row in world.table("books", "invoices"))
    if value is not None and value in taken:
        raise Rejected(400, 3062, f"An invoice with this {name} already exists.")


def _apply(world: World, record: Record, sent: dict[str, Any]) -> None:
    for name in ("date", "due_date", "reference_number", "notes"):
        if sent.get(name):
            record[name] = str(sent[name])
    if sent.get("custom_fields"):
        changed = {field["api_name"]: field for field in custom_fields(sent["custom_fields"])}
        stored = {field["api_name"]: field for field in record["custom_fields"]}
        record["custom_fields"] = list((stored | changed).values())
    if sent.get("line_items"):
        record["line_items"] = [_line(world, line) for line in sent["line_items"]]
        total = round(sum(line["item_total"] for line in record["line_items"]), 2)
        paid = record["payment_made"] + record["credits_applied"]
        record.update(sub_total=total, tax_total=0, total=total, balance=round(total - paid, 2))


def _line(world: World, sent: dict[str, Any]) -> Record:
    rate, quantity = money(sent.get("rate", 0)), float(sent.get("quantity", 1))
    return {
        "line_item_id": world.ids.new("books"),
        "name": str(sent.get("name", "")),
        "description": str(sent.get("description", "")),
        "rate": rate,
        "quantity": quantity,
        "item_total": round(rate * quantity, 2),
        "tax_percentage": 0,
    }


def _saved(call: ApiCall, record: Record) -> Record:
    record["last_modified_time"] = call.world.clock.finance_time()
    call.world.table("books", "invoices").save(record)
    announce_record(call.world, "books", "invoice", _shown(call.world, record))
    return record


def _shown(world: World, record: Record) -> Record:
    return {**shown(record), "status": current_status(world, record)}


async def _sent(call: ApiCall) -> web.Response:
    record = invoice(call.world, call.path("invoice_id"))
    if record["status"] == "draft":
        record["status"] = "sent"
        _saved(call, record)
    return ok("Invoice status has been changed to Sent.")


async def _void(call: ApiCall) -> web.Response:
    record = invoice(call.world, call.path("invoice_id"))
    if record["status"] != "void":
        record.update(status="void", balance=0)
        reflect_invoice(call.world, _saved(call, record))
    return ok("Invoice status has been changed to Void.")


async def _draft(call: ApiCall) -> web.Response:
    record = invoice(call.world, call.path("invoice_id"))
    if record["status"] != "void":
        raise Rejected(400, 1006, "Only void invoices can be made drafts.")
    record.update(status="draft", balance=round(record["total"] - record["payment_made"], 2))
    _saved(call, record)
    return ok("Status of invoice changed from void to draft.")


async def _write_off(call: ApiCall) -> web.Response:
    record = invoice(call.world, call.path("invoice_id"))
    if record["status"] not in UNPAID:
        raise Rejected(400, 1006, "Only unpaid invoices can be written off.")
    record.update(write_off_amount=record["balance"], balance=0, status="paid")
    reflect_invoice(call.world, _saved(call, record))
    return ok("Invoice has been written off")


async def _cancel_write_off(call: ApiCall) -> web.Response:
    record = invoice(call.world, call.path("invoice_id"))
    if not record["write_off_amount"]:
        raise Rejected(400, 1006, "This invoice has not been written off.")
    record.update(balance=record["write_off_amount"], write_off_amount=0, status="sent")
    reflect_invoice(call.world, _saved(call, record))
    return ok("The write off done for this invoice has been cancelled.")


async def _payments(call: ApiCall) -> web.Response:
    record = invoice(call.world, call.path("invoice_id"))
    rows = [
        {**{name: payment[name] for name in ("payment_id", "payment_number", "payment_mode",
                                             "date", "reference_number", "description")},
         "invoice_id": part["invoice_id"], "amount": part["amount_applied"], "exchange_rate": 1}
        for payment in call.world.table("books", "customerpayments")
        for part in payment["invoices"]
        if part["invoice_id"] == record["invoice_id"]
    ]  # fmt: skip
    return ok(payments=rows)
