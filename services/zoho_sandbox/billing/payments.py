"""Payments: offline ones recorded, all of them listed, and the customer's transactions.

`POST /payments` records and never charges. Source: oauth-billing-books §2.6.
"""

from __future__ import annotations

from aiohttp import web

from services.zoho_sandbox.billing.charges import apply, new_payment
from services.zoho_sandbox.billing.customers import customer
from services.zoho_sandbox.billing.events import announce
from services.zoho_sandbox.billing.invoices import invoice, saved
from services.zoho_sandbox.books import from_billing as integration
from services.zoho_sandbox.finance.dialect import Rejected, in_order, money, not_found, ok, page
from services.zoho_sandbox.server.routes import Call, Routes
from services.zoho_sandbox.server.tables import Record
from services.zoho_sandbox.server.world import World

_MODES = ("check", "cash", "creditcard", "banktransfer", "bankremittance", "autotransaction",
          "others")  # fmt: skip


def add_routes(routes: Routes) -> None:
    create, read = "ZohoSubscriptions.payments.CREATE", "ZohoSubscriptions.payments.READ"
    routes.add("POST", "/payments", "create_payment", _create, scope=create)
    routes.add("GET", "/payments", "list_payments", _list, scope=read)
    routes.add("GET", "/payments/{payment_id}", "retrieve_payment", _retrieve, scope=read)
    routes.add(
        "GET",
        "/transactions",
        "list_transactions",
        _transactions,
        scope="ZohoSubscriptions.customers.READ",
    )


def known(world: World, payment_id: object) -> Record:
    """Raises: Rejected: no such payment."""
    found = world.table("billing", "payments").get(str(payment_id))
    if found is None:
        raise not_found("Payment")
    return found


async def _create(call: Call) -> web.Response:
    given = call.json()
    owner = customer(call.world, given.get("customer_id"))
    amount = money(given.get("amount"))
    if given.get("payment_mode") not in _MODES or amount == 0:
        raise Rejected(400, 2, "Invalid value passed for payment_mode or amount")
    parts = [
        (invoice(call.world, part.get("invoice_id")), money(part.get("amount_applied")))
        for part in given.get("invoices") or []
    ]
    for bill, part in parts:
        if bill["customer_id"] != owner["customer_id"] or part > bill["balance"]:
            raise Rejected(400, 1010, "The amount applied is more than the invoice's balance.")
    if round(sum(part for _, part in parts), 2) > amount:
        raise Rejected(400, 1011, "The amounts applied are more than the payment.")
    details = {name: given.get(name, "") for name in ("date", "reference_number", "description")}
    payment = new_payment(call.world, owner, amount, given["payment_mode"], [], **details)
    for bill, part in parts:
        apply(bill, payment, part)
        saved(call.world, bill)
    call.world.table("billing", "payments").save(payment)
    integration.mirror_payment(call.world, payment)
    announce(call.world, "payment_thankyou", {"payment": dict(payment)})
    return ok("The payment has been created.", status=201, payment=payment)


async def _retrieve(call: Call) -> web.Response:
    return ok(payment=known(call.world, call.path("payment_id")))


async def _list(call: Call) -> web.Response:
    """Not in Zoho's OpenAPI file, but used by its own agents. Filters by `customer_id` alone."""
    rows = in_order(call, call.world.table("billing", "payments").searched())
    if wanted := call.query("customer_id"):
        rows = [row for row in rows if row["customer_id"] == wanted]
    return page(call, "payments", rows, filter_name="PaymentType.All")


async def _transactions(call: Call) -> web.Response:
    """Invoices, payments, credits and refunds of a customer, newest first."""
    kinds = (
        ("invoice", "invoices", "invoice_id", "invoice_date", "total"),
        ("payment", "payments", "payment_id", "date", "amount"),
        ("credit", "creditnotes", "creditnote_id", "date", "amount"),
        ("refund", "refunds", "refund_id", "date", "amount"),
    )
    wanted = call.query("filter_by").removeprefix("TransactionType.").lower()
    rows = [
        {
            "transaction_id": record[key],
            "reference_id": record.get("_payment_id", record[key]),
            "customer_id": record["customer_id"],
            "date": record[day],
            "type": kind,
            "status": record.get("status", "active"),
            "amount": f"{record[amount]:.2f}",
        }
        for kind, table, key, day, amount in kinds
        for record in call.world.table("billing", table).searched()
        if wanted in ("", "all", kind)
    ]
    if customer_id := call.query("customer_id"):
        rows = [row for row in rows if row["customer_id"] == customer_id]
    rows.sort(key=lambda row: row["transaction_id"], reverse=True)
    return page(call, "transactions", rows, filter_name="TransactionType.All")
