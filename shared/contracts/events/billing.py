"""Events of subscriptions, payments and invoices."""

from __future__ import annotations

from typing import ClassVar

from shared.contracts.events.event import OfUser, Origin
from shared.contracts.fields import Amount, Code, Currency, Day, Id, Instant, Rate, Word
from shared.contracts.tier import Tier


class SubscriptionChanged(OfUser):
    """A subscription is as it says, and the user's tier with it. `subscription.changed.v1`.

    Its subject is the user, because the tier is the user's: versions rise over all subscriptions
    of one user, and so over each of them. Keep the highest per `subscription_id`, or, for the
    tier, per `user_id`. `status` is Zoho's word; `cause` what brought it (`requested`, `renewed`,
    `cancelled`, …).
    """

    routing_key: ClassVar[str] = "subscription.changed.v1"

    subscription_id: Id
    status: Word
    active: bool
    plan_code: Code | None = None
    tier: Tier
    term_ends_at: Day | None = None
    cause: Word
    origin: Origin = "application"


class PaymentSucceeded(OfUser):
    """Money came in. `payment.succeeded.v1`."""

    routing_key: ClassVar[str] = "payment.succeeded.v1"

    payment_id: Id
    amount: Amount
    currency: Currency | None = None
    invoice_id: Id | None = None
    subscription_id: Id | None = None
    origin: Origin = "zoho"


class PaymentFailed(OfUser):
    """A charge did not come through. `payment.failed.v1`."""

    routing_key: ClassVar[str] = "payment.failed.v1"

    payment_id: Id | None = None
    amount: Amount | None = None
    currency: Currency | None = None
    invoice_id: Id | None = None
    subscription_id: Id | None = None
    next_retry_at: Instant | None = None
    origin: Origin = "zoho"


class _InvoiceEvent(OfUser):
    invoice_id: Id
    number: Word | None = None
    status: Word
    total: Rate
    balance: Rate | None = None
    currency: Currency
    date: Day
    due_date: Day | None = None
    subscription_id: Id | None = None
    origin: Origin = "zoho"

    def subject(self) -> str:
        return f"invoice:{self.invoice_id}"


class InvoiceIssued(_InvoiceEvent):
    """There is a new invoice, and this is its id. `invoice.issued.v1`."""

    routing_key: ClassVar[str] = "invoice.issued.v1"


class InvoiceChanged(_InvoiceEvent):
    """An invoice was paid, voided, written off, or otherwise changed. `invoice.changed.v1`."""

    routing_key: ClassVar[str] = "invoice.changed.v1"
