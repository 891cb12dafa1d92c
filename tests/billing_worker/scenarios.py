"""Bring a running billing-worker into the states from which its tests start."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from shared.contracts.commands import (
    PaymentCollectRequested,
    PaymentRecordRequested,
    SubscriptionRequested,
    UserSignedUp,
)
from tests.billing_worker.conftest import Upstream

ADA = UserSignedUp(user_id="u1", email="ada@example.com", full_name="Ada Fairweather")
GRACE = UserSignedUp(user_id="u2", email="grace@example.com", full_name="Grace Sundown")


def subscribe(**more: Any) -> SubscriptionRequested:
    return SubscriptionRequested(
        **{"user_id": "u1", "subscription_id": "s1", "plan_code": "basic-monthly", **more}
    )


def record_cash(**more: Any) -> PaymentRecordRequested:
    return PaymentRecordRequested(
        **{
            "user_id": "u1",
            "payment_id": "p1",
            "amount": Decimal(1),
            "currency": "USD",
            "mode": "cash",
            **more,
        }
    )


async def a_subscription(upstream: Upstream, **more: Any) -> dict[str, Any]:
    """Ada's subscription, live at Zoho. Returns Zoho's record of it."""
    await upstream.send(ADA)
    await upstream.send(subscribe(**more))
    await upstream.event("subscription.changed.v1", subscription_id="s1")
    (subscription,) = await upstream.records("billing", "subscriptions")
    return subscription


async def an_unpaid_invoice(upstream: Upstream) -> str:
    """Ada's subscription and its first invoice. Returns our id of the invoice."""
    await a_subscription(upstream)
    return str((await upstream.event("invoice.issued.v1", user_id="u1"))["invoice_id"])


async def with_card(upstream: Upstream) -> str:
    """Give the only customer a stored card. Returns Billing's id of the customer."""
    (customer,) = await upstream.records("billing", "customers")
    await upstream.sandbox.add_card(customer["customer_id"])
    return str(customer["customer_id"])


async def a_card_payment(upstream: Upstream) -> str:
    """Ada's first invoice, paid by card. Returns our id of the payment."""
    invoice_id = await an_unpaid_invoice(upstream)
    await with_card(upstream)
    await upstream.send(PaymentCollectRequested(invoice_id=invoice_id))
    return str((await upstream.event("payment.succeeded.v1", user_id="u1"))["payment_id"])


async def charges(upstream: Upstream) -> list[dict[str, Any]]:
    """Billing's payments that succeeded."""
    payments = await upstream.records("billing", "payments")
    return [payment for payment in payments if payment["status"] == "success"]


async def a_last_message(upstream: Upstream) -> None:
    """Another user's sign-up, which comes through after the messages before it were handled."""
    await upstream.publish("user.signed_up.v1", {"user_id": "u9", "email": "last@example.com"})
    await upstream.event("customer.created.v1", user_id="u9")
