"""Refuse a command whose id was used before for something else.

The same request again counts as done. Answering "done" to another amount or plan would let the
application believe what never happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from services.billing_worker.repositories.invoices import StoredInvoice
from services.billing_worker.repositories.payments import StoredPayment, StoredRefund
from services.billing_worker.repositories.subscriptions import StoredSubscription
from shared.contracts.commands import (
    InvoiceCreateRequested,
    InvoiceLine,
    PaymentRecordRequested,
    PaymentRefundRequested,
    SubscriptionRequested,
)
from shared.errors import PermanentError

RequestFingerprint = Mapping[str, Any]
"""The part of a command that the effects journal keeps (JSON types), compared with the next one."""


def ensure_same_payment(message: PaymentRecordRequested, known: StoredPayment) -> None:
    """
    Raises:
        PermanentError: `id_taken`.
    """
    if known.user_id != message.user_id:
        raise _taken("this payment_id is another user's")
    if known.outcome != "succeeded":
        raise _taken("this payment_id is that of a payment that failed")
    if (known.amount, known.currency) != (message.amount, message.currency):
        raise _taken("this payment_id was recorded with another amount or currency")
    if message.invoice_id is not None and message.invoice_id != known.invoice_id:
        raise _taken("this payment_id was recorded for another invoice")


def ensure_same_refund(message: PaymentRefundRequested, known: StoredRefund) -> None:
    """
    Raises:
        PermanentError: `id_taken`.
    """
    if (known.payment_id, known.amount) != (message.payment_id, message.amount):
        raise _taken("this refund_id is that of another amount or payment")


def ensure_same_subscription(message: SubscriptionRequested, known: StoredSubscription) -> None:
    """Compare with the plan of the first request. A later change of plan is no contradiction.

    Raises:
        PermanentError: `id_taken`.
    """
    if known.user_id != message.user_id:
        raise _taken("this subscription_id is already another user's")
    if known.requested_plan not in (None, message.plan_code):
        raise _taken("this subscription_id was requested with another plan_code")


def ensure_same_invoice(
    message: InvoiceCreateRequested, known: StoredInvoice, lines: str | None
) -> None:
    """`lines` are those it was made with, as `canonical_lines` writes them; None: not known.

    Raises:
        PermanentError: `id_taken`.
    """
    if known.user_id != message.user_id:
        raise _taken("this invoice_id is another user's")
    if known.origin != "application":
        raise _taken("this invoice_id is that of an invoice made at Zoho")
    if message.currency is not None and known.currency not in (None, message.currency):
        raise _taken("this invoice_id was made in another currency")
    if lines not in (None, canonical_lines(message.lines)):
        raise _taken("this invoice_id was made with other lines")


def ensure_same_request(requested: RequestFingerprint, done: RequestFingerprint, name: str) -> None:
    """Compare the request with what the journal remembers as done for this id.

    Only fields that both have are compared: what was found at Zoho may have fewer than a request.

    Raises:
        PermanentError: `id_taken`.
    """
    fields = {field: value for field, value in requested.items() if value is not None}
    if any(field in done and done[field] != value for field, value in fields.items()):
        raise _taken(f"this {name} was requested before, with other values")


def canonical_amount(amount: Decimal) -> str:
    """Write equal amounts alike: `19` for 19, 19.0 and 19.00."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def canonical_lines(lines: Iterable[InvoiceLine]) -> str:
    """Write equal lines alike, whatever the form of their numbers."""
    return repr(
        [
            (line.description, canonical_amount(line.quantity), canonical_amount(line.rate))
            for line in lines
        ]
    )


def _taken(reason: str) -> PermanentError:
    return PermanentError(reason, code="id_taken")
