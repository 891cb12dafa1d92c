"""Refund card payments, each as a credit note that is refunded.

Source: https://www.zoho.com/billing/api/v1/refunds/.
"""

from __future__ import annotations

from aiohttp import web

from services.zoho_sandbox.billing.credit_notes import new_credit_note
from services.zoho_sandbox.billing.events import announce
from services.zoho_sandbox.billing.payments import payment_of
from services.zoho_sandbox.finance import integration
from services.zoho_sandbox.finance.dialect import Rejected, money, not_found, ok, shown
from services.zoho_sandbox.server.routes import ApiCall, Routes
from services.zoho_sandbox.server.tables import Record
from services.zoho_sandbox.server.world import World


def add_routes(routes: Routes) -> None:
    routes.add(
        "POST",
        "/payments/{payment_id}/refunds",
        "refund_payment",
        _refund,
        scope="ZohoSubscriptions.creditnotes.CREATE|ZohoSubscriptions.payments.CREATE",
    )
    routes.add(
        "GET",
        "/creditnotes/refunds/{refund_id}",
        "retrieve_refund",
        _retrieve_refund,
        scope="ZohoSubscriptions.creditnotes.READ",
    )


async def _refund(call: ApiCall) -> web.Response:
    """Create a credit note and refund it to the card."""
    payment, sent = payment_of(call.world, call.path("payment_id")), call.json()
    amount = money(sent.get("amount"))
    if payment["payment_mode"] != "autotransaction" or payment["status"] != "success":
        raise Rejected(400, 1012, "Only payments made through a gateway can be refunded.")
    if amount == 0 or amount > round(payment["amount"] - payment["amount_refunded"], 2):
        raise Rejected(400, 1013, "The refund is more than what is left of the payment.")
    payment["amount_refunded"] = round(payment["amount_refunded"] + amount, 2)
    call.world.table("billing", "payments").save(payment)
    _note_on_invoices(call.world, payment)
    refund = _new_refund(call.world, payment, amount, str(sent.get("description", "")))
    announce(call.world, "creditnote_added", {"creditnote": dict(refund["creditnote"])})
    announce(call.world, "creditnote_refunded", {"creditnote": dict(refund["creditnote"])})
    announce(call.world, "payment_refunded", {"payment": dict(payment), "refund": dict(refund)})
    return ok("The refund information has been saved.", status=201, refund=refund)


def _note_on_invoices(world: World, payment: Record) -> None:
    for part in payment["invoices"]:
        bill = world.table("billing", "invoices").get(part["invoice_id"])
        for row in bill["payments"] if bill else []:
            if row["payment_id"] == payment["payment_id"]:
                row["amount_refunded"] = payment["amount_refunded"]


def _new_refund(world: World, payment: Record, amount: float, description: str) -> Record:
    today = world.clock.today().isoformat()
    note = new_credit_note(
        world, payment, amount, refund_amount=amount, balance_amount=0, _status="closed"
    )
    refund = world.table("billing", "refunds").add(
        {
            "refund_id": world.ids.new("billing"),
            "date": today,
            "amount": amount,
            "description": description,
            "reference_number": payment["reference_number"],
            "refund_mode": "autotransaction",
            "status": "success",
            "customer_id": payment["customer_id"],
            "email": payment["email"],
            "creditnote": shown(note),
            "autotransaction": payment["autotransaction"],
            "currency_code": payment["currency_code"],
            "currency_symbol": "$",
            "_payment_id": payment["payment_id"],
        }
    )
    integration.mirror_refund(world, refund)
    return shown(refund)


async def _retrieve_refund(call: ApiCall) -> web.Response:
    refund = call.world.table("billing", "refunds").get(call.path("refund_id"))
    if refund is None:
        raise not_found("Refund")
    return ok(refund=shown(refund))
