"""Serve Billing's invoices, which subscriptions create, cards pay, and Books mirrors.

Source: https://www.zoho.com/billing/api/v1/invoices/.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from aiohttp import web

from services.zoho_sandbox.billing.charges import charge_card, credit_back
from services.zoho_sandbox.billing.customers import cards_of, customer
from services.zoho_sandbox.billing.events import announce
from services.zoho_sandbox.finance import integration
from services.zoho_sandbox.finance.dialect import Rejected, in_order, not_found, ok, page, shown
from services.zoho_sandbox.finance.invoice_pdf import invoice_pdf
from services.zoho_sandbox.finance.invoice_status import UNPAID, current_status, has_status
from services.zoho_sandbox.server.routes import ApiCall, Routes
from services.zoho_sandbox.server.tables import Record
from services.zoho_sandbox.server.world import World

_LISTED = [
    "invoice_id",
    "number",
    "status",
    "invoice_date",
    "due_date",
    "customer_id",
    "customer_name",
    "email",
    "balance",
    "total",
    "currency_code",
    "currency_symbol",
    "created_time",
    "updated_time",
]


def add_routes(routes: Routes) -> None:
    create, read = "ZohoSubscriptions.invoices.CREATE", "ZohoSubscriptions.invoices.READ"
    path = "/invoices/{invoice_id}"
    routes.add("GET", "/invoices", "list_invoices", _list, scope=read)
    routes.add("GET", path, "retrieve_invoice", _retrieve, scope=read)
    routes.add("POST", f"{path}/void", "void_invoice", _void, scope=create)
    routes.add("POST", f"{path}/writeoff", "write_off_invoice", _write_off, scope=create)
    routes.add(
        "POST", f"{path}/cancelwriteoff", "cancel_write_off", _cancel_write_off, scope=create
    )
    routes.add("POST", f"{path}/converttoopen", "convert_invoice_to_open", _open, scope=create)
    routes.add("POST", f"{path}/email", "email_invoice", _email, scope=create)
    routes.add("POST", f"{path}/collect", "collect_charge", _collect, scope=create)


def invoice(world: World, invoice_id: object) -> Record:
    """Return the invoice. Raises: Rejected: there is none with this id."""
    record = world.table("billing", "invoices").get(str(invoice_id))
    if record is None:
        raise not_found("Invoice")
    return record


def new_invoice(
    world: World,
    owner: Record,
    items: list[dict[str, Any]],
    *,
    on: date,
    kind: str,
    subscription_id: str,
    discount: float = 0.0,
) -> Record:
    """Add an open invoice for `items`: {name, code, price, quantity}. Books copies it later."""
    now = world.clock.finance_time()
    number = f"INV-{len(world.table('billing', 'invoices')) + 1:06d}"
    total = round(sum(item["price"] * item["quantity"] for item in items) - discount, 2)
    record = world.table("billing", "invoices").add(
        {
            "invoice_id": world.ids.new("billing"),
            "number": number,
            "status": "sent",
            "invoice_date": on.isoformat(),
            "due_date": on.isoformat(),
            "payment_expected_date": "",
            "transaction_type": kind,
            "customer_id": owner["customer_id"],
            "customer_name": owner["display_name"],
            "email": owner["email"],
            "invoice_items": [_item(world, item) for item in items],
            "coupons": [],
            "credits": [],
            "total": total,
            "payment_made": 0,
            "balance": total,
            "credits_applied": 0,
            "write_off_amount": 0,
            "payments": [],
            "currency_code": owner["currency_code"],
            "currency_symbol": "$",
            "created_time": now,
            "updated_time": now,
            "invoice_url": f"https://zohosecurepay.com/billing/{world.ids.new('billing')}/pay",
            "comments": [],
            "custom_fields": [],
            "can_send_in_mail": True,
            "documents": [],
            "_subscription_id": subscription_id,
        }
    )
    customer_balance(world, owner)
    integration.mirror_invoice(world, record)
    announce(world, "invoice_created", {"invoice": shown(record)})
    return record


def save_invoice(world: World, record: Record) -> Record:
    """Save a changed invoice, and update its customer's balance and its copy in Books."""
    record["updated_time"] = world.clock.finance_time()
    world.table("billing", "invoices").save(record)
    customer_balance(world, customer(world, record["customer_id"]))
    integration.mirror_invoice(world, record)
    return record


def customer_balance(world: World, owner: Record) -> None:
    """Set the customer's outstanding amount to the sum of the open invoices."""
    owner["outstanding"] = round(
        sum(
            row["balance"]
            for row in world.table("billing", "invoices")
            if row["customer_id"] == owner["customer_id"]
        ),
        2,
    )
    world.table("billing", "customers").save(owner)


def _item(world: World, item: dict[str, Any]) -> Record:
    return {
        "item_id": world.ids.new("billing"),
        "name": item["name"],
        "description": item.get("description", ""),
        "code": item.get("code", ""),
        "price": item["price"],
        "quantity": item["quantity"],
        "discount_amount": 0,
        "item_total": round(item["price"] * item["quantity"], 2),
        "tags": [],
        "item_custom_fields": [],
    }


async def _list(call: ApiCall) -> web.Response:
    rows = in_order(call, call.world.table("billing", "invoices").searched())
    if wanted := call.query("customer_id"):
        rows = [row for row in rows if row["customer_id"] == wanted]
    if wanted := call.query("subscription_id"):
        rows = [row for row in rows if row["_subscription_id"] == wanted]
    kind, _, status = call.query("filter_by").partition(".")
    if kind == "Status":
        rows = [row for row in rows if has_status(call.world, row, status)]
    listed = [
        {name: value for name, value in _shown(call.world, row).items() if name in _LISTED}
        for row in rows
    ]
    return page(call, "invoices", listed, filter_name="Status.All")


async def _retrieve(call: ApiCall) -> web.Response:
    record = invoice(call.world, call.path("invoice_id"))
    if call.query("accept") == "pdf" or "application/pdf" in call.request.headers.get("Accept", ""):
        body = invoice_pdf(record["number"], record["customer_name"], record["total"],
                           record["currency_code"], record["invoice_url"])  # fmt: skip
        return web.Response(body=body, content_type="application/pdf")
    return ok(invoice=_shown(call.world, record))


def _shown(world: World, record: Record) -> Record:
    return {**shown(record), "status": current_status(world, record)}


async def _void(call: ApiCall) -> web.Response:
    record = invoice(call.world, call.path("invoice_id"))
    if record["status"] != "void":
        credit_back(call.world, record)
        record.update(status="void", balance=0)
        save_invoice(call.world, record)
        announce(call.world, "invoice_voided", {"invoice": shown(record)})
    return ok("Invoice status has been changed to Void.")


async def _write_off(call: ApiCall) -> web.Response:
    record = invoice(call.world, call.path("invoice_id"))
    if record["status"] not in UNPAID:
        raise Rejected(400, 1006, "Only unpaid invoices can be written off.")
    record.update(write_off_amount=record["balance"], balance=0, status="paid")
    save_invoice(call.world, record)
    return ok("Invoice has been written off..")


async def _cancel_write_off(call: ApiCall) -> web.Response:
    record = invoice(call.world, call.path("invoice_id"))
    if not record["write_off_amount"]:
        raise Rejected(400, 1006, "This invoice has not been written off.")
    record.update(balance=record["write_off_amount"], write_off_amount=0, status="sent")
    save_invoice(call.world, record)
    return ok("The write off done for this invoice has been cancelled.")


async def _open(call: ApiCall) -> web.Response:
    record = invoice(call.world, call.path("invoice_id"))
    if record["status"] not in ("void", "draft", "pending"):
        raise Rejected(400, 1006, "This invoice is open already.")
    record.update(status="sent", balance=round(record["total"] - record["payment_made"], 2))
    save_invoice(call.world, record)
    return ok("Status of the invoice has been changed to open.")


async def _email(call: ApiCall) -> web.Response:
    invoice(call.world, call.path("invoice_id"))
    return ok("Your invoice has been sent.")


async def _collect(call: ApiCall) -> web.Response:
    """Charge a card. The answer holds `invoice`, not the `payment` that Zoho's page promises."""
    record = invoice(call.world, call.path("invoice_id"))
    if record["status"] not in UNPAID or record["balance"] <= 0:
        raise Rejected(400, 1007, "This invoice has been paid already, or cannot be charged.")
    card_id = str(call.json().get("card_id", ""))
    cards = [
        card for card in cards_of(call.world, record["customer_id"]) if card["card_id"] == card_id
    ]
    if not cards:
        raise Rejected(400, 2, "Invalid value passed for card_id")
    payment = charge_card(call.world, record, cards[0])
    save_invoice(call.world, record)
    if payment["status"] == "failure":
        raise Rejected(400, 3051, "The card was declined by the payment gateway.")
    return ok("The customer payment has been recorded.", invoice=shown(record))
