"""Serve Books' customer payments and their refunds. The list's key is `customerpayments`.

Source: https://www.zoho.com/books/api/v3/customer-payments/.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from services.zoho_sandbox.books.invoices import invoice
from services.zoho_sandbox.books.lists import by_unique_field, listed
from services.zoho_sandbox.finance.dialect import (
    Rejected,
    custom_fields,
    invalid,
    money,
    not_found,
    ok,
    page,
    shown,
)
from services.zoho_sandbox.finance.integration import reflect_invoice
from services.zoho_sandbox.finance.webhooks import announce_record
from services.zoho_sandbox.server.routes import ApiCall, Routes
from services.zoho_sandbox.server.tables import Record

# Rows of real organizations have neither `currency_code` nor `amount_refunded`.
_LISTED = [
    "payment_id",
    "payment_number",
    "invoice_numbers",
    "date",
    "payment_mode",
    "amount",
    "unused_amount",
    "customer_id",
    "customer_name",
    "reference_number",
    "description",
    "created_time",
    "last_modified_time",
]


def add_routes(routes: Routes) -> None:
    create, read = "ZohoBooks.customerpayments.CREATE", "ZohoBooks.customerpayments.READ"
    update, path = "ZohoBooks.customerpayments.UPDATE", "/customerpayments/{payment_id}"
    routes.add("POST", "/customerpayments", "create_customer_payment", _create, scope=create)
    routes.add("GET", "/customerpayments", "list_customer_payments", _list, scope=read)
    routes.add(
        "PUT",
        "/customerpayments",
        "update_customer_payment_using_custom_field",
        _upsert,
        scope=(create, update),
    )
    routes.add("GET", path, "get_customer_payment", _get, scope=read)
    routes.add("GET", f"{path}/refunds", "list_customer_payment_refunds", _refunds, scope=read)
    routes.add("POST", f"{path}/refunds", "create_customer_payment_refund", _refund, scope=create)


async def _list(call: ApiCall) -> web.Response:
    exact = ("customer_id", "customer_name", "reference_number", "payment_mode", "amount")
    rows = listed(call, call.world.table("books", "customerpayments"), exact)
    return page(
        call, "customerpayments", [_list_row(row) for row in rows], filter_name="PaymentType.All"
    )


def _list_row(payment: Record) -> Record:
    """Return a row of the list: amounts also in the base currency (`bcy_…`)."""
    rate = payment.get("exchange_rate", 1)
    amounts = {
        "bcy_amount": payment["amount"],
        "bcy_unused_amount": payment.get("unused_amount", 0),
        "bcy_refunded_amount": payment.get("amount_refunded", 0),
    }
    return {
        **{name: payment[name] for name in _LISTED if name in payment},
        **{name: round(amount * rate, 2) for name, amount in amounts.items()},
    }


async def _get(call: ApiCall) -> web.Response:
    return ok(payment=shown(_known(call)))


async def _create(call: ApiCall) -> web.Response:
    return _created(call, call.json())


async def _upsert(call: ApiCall) -> web.Response:
    payment = by_unique_field(call, call.world.table("books", "customerpayments"))
    sent = call.json()
    if payment is not None:
        payment.update({k: sent[k] for k in ("description", "reference_number") if k in sent})
        _save(call, payment)
        return ok("The payment details have been updated.", payment=shown(payment))
    return _created(call, sent)


def _save(call: ApiCall, payment: Record) -> None:
    payment["last_modified_time"] = call.world.clock.finance_time()
    call.world.table("books", "customerpayments").save(payment)
    announce_record(call.world, "books", "payment", payment)


def _created(call: ApiCall, sent: dict[str, Any]) -> web.Response:
    world = call.world
    contact = world.table("books", "contacts").get(str(sent.get("customer_id")))
    if contact is None:
        raise invalid("customer_id")
    amount = money(sent.get("amount"))
    if amount == 0 or not sent.get("payment_mode") or not sent.get("date"):
        raise invalid("amount, payment_mode or date")
    applied = [_apply(call, part) for part in sent.get("invoices") or []]
    spent = sum(part["amount_applied"] for part in applied)
    now = world.clock.finance_time()
    table = world.table("books", "customerpayments")
    record = table.add(
        {
            "payment_id": world.ids.new("books"),
            "payment_number": str(len(table) + 1),
            "customer_id": contact["contact_id"],
            "customer_name": contact["contact_name"],
            "email": contact["email"],
            "payment_mode": sent["payment_mode"],
            "amount": amount,
            "bcy_amount": amount,
            "amount_refunded": 0,
            "unused_amount": round(amount - spent, 2),
            "date": str(sent["date"]),
            "status": "success",
            "reference_number": str(sent.get("reference_number", "")),
            "description": str(sent.get("description", "")),
            "invoices": applied,
            "invoice_numbers": ", ".join(part["invoice_number"] for part in applied),
            "currency_code": contact["currency_code"],
            "exchange_rate": 1,
            "custom_fields": custom_fields(sent.get("custom_fields")),
            "created_time": now,
            "last_modified_time": now,
        }
    )
    announce_record(world, "books", "payment", record)
    return ok("The payment has been created.", status=201, payment=shown(record))


def _apply(call: ApiCall, part: dict[str, Any]) -> Record:
    bill, amount = invoice(call.world, part.get("invoice_id")), money(part.get("amount_applied"))
    if amount > bill["balance"]:
        raise Rejected(400, 1010, "The amount applied is more than the invoice's balance.")
    bill["payment_made"] = round(bill["payment_made"] + amount, 2)
    bill["balance"] = round(bill["balance"] - amount, 2)
    bill["status"] = "paid" if bill["balance"] <= 0 else "partially_paid"
    call.world.table("books", "invoices").save(bill)
    reflect_invoice(call.world, bill)
    return {
        "invoice_id": bill["invoice_id"],
        "invoice_number": bill["invoice_number"],
        "date": bill["date"],
        "invoice_amount": bill["total"],
        "amount_applied": amount,
        "balance_amount": bill["balance"],
    }


def _known(call: ApiCall) -> Record:
    payment = call.world.table("books", "customerpayments").get(call.path("payment_id"))
    if payment is None:
        raise not_found("Payment")
    return payment


async def _refunds(call: ApiCall) -> web.Response:
    payment = _known(call)
    rows = [
        row
        for row in call.world.table("books", "payment_refunds").searched()
        if row["payment_id"] == payment["payment_id"]
    ]
    return page(call, "payment_refunds", rows, filter_name="Refunds.All")


async def _refund(call: ApiCall) -> web.Response:
    """Refund a part of the payment that was not applied to an invoice, on the date of the body."""
    payment, sent = _known(call), call.json()
    amount = money(sent.get("amount"))
    if amount == 0 or amount > payment["unused_amount"]:
        raise Rejected(400, 1013, "The refund is more than the excess payment.")
    payment["unused_amount"] = round(payment["unused_amount"] - amount, 2)
    payment["amount_refunded"] = round(payment["amount_refunded"] + amount, 2)
    _save(call, payment)
    refund = call.world.table("books", "payment_refunds").add(
        {
            "payment_refund_id": call.world.ids.new("books"),
            "payment_id": payment["payment_id"],
            "date": str(sent.get("date") or call.world.clock.today().isoformat()),
            "refund_mode": str(sent.get("refund_mode", "cash")),
            "reference_number": str(sent.get("reference_number", "")),
            "payment_number": payment["payment_number"],
            "customer_name": payment["customer_name"],
            "amount_bcy": amount,
            "amount_fcy": amount,
        }
    )
    return ok("The refund information for this payment has been saved.", status=201,
              payment_refunds=refund)  # fmt: skip
