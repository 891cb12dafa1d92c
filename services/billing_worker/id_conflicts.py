"""Ids are named once: the same wish again is done already, another under its id is refused.

Answering "done" to another amount or plan would let the application believe what never happened.
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
"""What the journal of effects keeps of a command (JSON types), to compare the next with."""


def must_be_this_payment(message: PaymentRecordRequested, known: StoredPayment) -> None:
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


def must_be_this_refund(message: PaymentRefundRequested, known: StoredRefund) -> None:
    """
    Raises:
        PermanentError: `id_taken`.
    """
    if (known.payment_id, known.amount) != (message.payment_id, message.amount):
        raise _taken("this refund_id is that of another amount or payment")


def must_be_this_subscription(message: SubscriptionRequested, known: StoredSubscription) -> None:
    """Compared with the plan first asked for; what it was changed to since is no contradiction.

    Raises:
        PermanentError: `id_taken`.
    """
    if known.user_id != message.user_id:
        raise _taken("this subscription_id is already another user's")
    if known.requested_plan not in (None, message.plan_code):
        raise _taken("this subscription_id was requested with another plan_code")


def must_be_this_invoice(
    message: InvoiceCreateRequested, known: StoredInvoice, lines: str | None
) -> None:
    """`lines` are those it was made with, as `lines_text` tells them; None: not known.

    Raises:
        PermanentError: `id_taken`.
    """
    if known.user_id != message.user_id:
        raise _taken("this invoice_id is another user's")
    if known.origin != "application":
        raise _taken("this invoice_id is that of an invoice made at Zoho")
    if message.currency is not None and known.currency not in (None, message.currency):
        raise _taken("this invoice_id was made in another currency")
    if lines not in (None, lines_text(message.lines)):
        raise _taken("this invoice_id was made with other lines")


def must_be_this_wish(asked: RequestFingerprint, done: RequestFingerprint, name: str) -> None:
    """What the journal remembers was done for this id is what is asked for now.

    Only what both tell is compared: what was found at Zoho may tell less than what was asked.

    Raises:
        PermanentError: `id_taken`.
    """
    given = {field: value for field, value in asked.items() if value is not None}
    if any(field in done and done[field] != value for field, value in given.items()):
        raise _taken(f"this {name} was asked for before, and differently")


def plain(amount: Decimal) -> str:
    """The same text for equal amounts: `19` for 19, 19.0 and 19.00."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def lines_text(lines: Iterable[InvoiceLine]) -> str:
    """The same text for equal lines, however their numbers are written."""
    return repr([(one.description, plain(one.quantity), plain(one.rate)) for one in lines])


def _taken(reason: str) -> PermanentError:
    return PermanentError(reason, code="id_taken")
