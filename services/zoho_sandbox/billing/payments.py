"""Record offline payments, list all payments, and list a customer's transactions.

`POST /payments` records a payment and never charges a card.
Source: https://www.zoho.com/billing/api/v1/payments/.
"""

from __future__ import annotations

from aiohttp import web

from services.zoho_sandbox.billing.charges import apply_payment, new_payment
from services.zoho_sandbox.billing.customers import customer
from services.zoho_sandbox.billing.events import announce
from services.zoho_sandbox.billing.invoices import invoice, save_invoice
from services.zoho_sandbox.finance import integration
from services.zoho_sandbox.finance.dialect import Rejected, in_order, money, not_found, ok, page
from services.zoho_sandbox.server.routes import ApiCall, Routes
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


def payment_of(world: World, payment_id: object) -> Record:
    """Return the payment. Raises: Rejected: there is none with this id."""
    payment = world.table("billing", "payments").get(str(payment_id))
    if payment is None:
        raise not_found("Payment")
    return payment


async def _create(call: ApiCall) -> web.Response:
    sent = call.json()
    owner = customer(call.world, sent.get("customer_id"))
    amount = money(sent.get("amount"))
    if sent.get("payment_mode") not in _MODES or amount == 0:
        raise Rejected(400, 2, "Invalid value passed for payment_mode or amount")
    parts = [
        (invoice(call.world, part.get("invoice_id")), money(part.get("amount_applied")))
        for part in sent.get("invoices") or []
    ]
    for bill, part in parts:
        if bill["customer_id"] != owner["customer_id"] or part > bill["balance"]:
            raise Rejected(400, 1010, "The amount applied is more than the invoice's balance.")
    if round(sum(part for _, part in parts), 2) > amount:
        raise Rejected(400, 1011, "The amounts applied are more than the payment.")
    details = {name: sent.get(name, "") for name in ("date", "reference_number", "description")}
    payment = new_payment(call.world, owner, amount, sent["payment_mode"], [], **details)
    for bill, part in parts:
        apply_payment(bill, payment, part)
        save_invoice(call.world, bill)
    call.world.table("billing", "payments").save(payment)
    integration.mirror_payment(call.world, payment)
    announce(call.world, "payment_thankyou", {"payment": dict(payment)})
    return ok("The payment has been created.", status=201, payment=payment)


async def _retrieve(call: ApiCall) -> web.Response:
    return ok(payment=payment_of(call.world, call.path("payment_id")))


async def _list(call: ApiCall) -> web.Response:
    """List payments, by `customer_id` alone. Not in Zoho's OpenAPI file, but its agents use it."""
    rows = in_order(call, call.world.table("billing", "payments").searched())
    if wanted := call.query("customer_id"):
        rows = [row for row in rows if row["customer_id"] == wanted]
    return page(call, "payments", rows, filter_name="PaymentType.All")


async def _transactions(call: ApiCall) -> web.Response:
    """List invoices, payments, credits and refunds, newest first, without their customers."""
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
    rows = [{name: row[name] for name in row if name != "customer_id"} for row in rows]
    rows.sort(key=lambda row: row["transaction_id"], reverse=True)
    return page(call, "transactions", rows, filter_name="TransactionType.All")
