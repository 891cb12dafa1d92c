"""Charge cards and apply payments to invoices.

A declined charge leaves a payment with status `failure` and the gateway's message.
Source: https://www.zoho.com/billing/api/v1/payments/.
"""

from __future__ import annotations

from typing import Any

from services.zoho_sandbox.billing.customers import customer
from services.zoho_sandbox.billing.events import announce
from services.zoho_sandbox.finance import integration
from services.zoho_sandbox.server.tables import Record
from services.zoho_sandbox.server.world import World


def charge_card(world: World, invoice: Record, card: Record) -> Record:
    """Charge the card the invoice's balance. The payment's status shows whether it worked.

    The invoice is changed, not saved. A decline ordered by a driver applies to the next charge.
    """
    owner = customer(world, invoice["customer_id"])
    declined = int(owner.get("_declines", 0)) > 0
    if declined:
        owner["_declines"] -= 1
    payment = new_payment(world, owner, invoice["balance"], "autotransaction", [], card=card)
    payment["status"] = "failure" if declined else "success"
    if declined:
        payment["autotransaction"]["gateway_error_message"] = "Your card was declined."
        payment["invoices"] = [_applied(invoice, 0.0)]
    else:
        apply_payment(invoice, payment, payment["amount"])
    world.table("billing", "payments").save(payment)
    if not declined:
        integration.mirror_payment(world, payment)
    announce(
        world, "payment_declined" if declined else "payment_thankyou", {"payment": dict(payment)}
    )
    return payment


def credit_back(world: World, invoice: Record) -> None:
    """Turn what was paid on a voided invoice into the customer's credit."""
    owner = customer(world, invoice["customer_id"])
    owner["unused_credits"] = round(owner["unused_credits"] + invoice["payment_made"], 2)
    invoice["payment_made"] = 0
    world.table("billing", "customers").save(owner)


def new_payment(
    world: World,
    owner: Record,
    amount: float,
    mode: str,
    invoices: list[Record],
    *,
    card: Record | None = None,
    **details: Any,
) -> Record:
    """Add a payment. `details` may hold `date`, `reference_number` and `description`."""
    record: Record = {
        "payment_id": world.ids.new("billing"),
        "payment_mode": mode,
        "amount": amount,
        "amount_refunded": 0,
        "bank_charges": 0,
        "date": details.get("date") or world.clock.today().isoformat(),
        "status": "success",
        "reference_number": details.get("reference_number", ""),
        "description": details.get("description", ""),
        "customer_id": owner["customer_id"],
        "customer_name": owner["display_name"],
        "email": owner["email"],
        "invoices": invoices,
        "currency_code": owner["currency_code"],
        "currency_symbol": "$",
        "custom_fields": [],
        "created_time": world.clock.finance_time(),
    }
    if card is not None:
        record["autotransaction"] = {
            "autotransaction_id": world.ids.new("billing"),
            "payment_gateway": card["payment_gateway"],
            "gateway_transaction_id": f"txn_{world.ids.new('billing')}",
            "gateway_error_message": "",
            "card_id": card["card_id"],
            "last_four_digits": card["last_four_digits"],
            "expiry_month": card["expiry_month"],
            "expiry_year": card["expiry_year"],
        }
    return world.table("billing", "payments").add(record)


def apply_payment(invoice: Record, payment: Record, amount: float) -> None:
    """Reduce the invoice's balance by `amount`, and note it in both records."""
    invoice["payment_made"] = round(invoice["payment_made"] + amount, 2)
    invoice["balance"] = round(invoice["balance"] - amount, 2)
    invoice["status"] = "paid" if invoice["balance"] <= 0 else "partially_paid"
    invoice["payments"].append(
        {
            "payment_id": payment["payment_id"],
            "payment_mode": payment["payment_mode"],
            "invoice_payment_id": payment["payment_id"][:-1] + "7",
            "amount_refunded": 0,
            "date": payment["date"],
            "reference_number": payment["reference_number"],
            "description": payment["description"],
            "amount": amount,
            "bank_charges": 0,
            "exchange_rate": 1,
        }
    )
    payment["invoices"].append(_applied(invoice, amount))


def _applied(invoice: Record, amount: float) -> Record:
    return {
        "invoice_id": invoice["invoice_id"],
        "invoice_number": invoice["number"],
        "date": invoice["invoice_date"],
        "invoice_amount": invoice["total"],
        "amount_applied": amount,
        "balance_amount": invoice["balance"],
    }
