"""Define the events of subscriptions, payments and invoices."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from shared.contracts.events.event import Origin, UserEvent
from shared.contracts.fields import Amount, Code, Currency, Day, Id, Instant, Rate, Word
from shared.contracts.outgoing import OutgoingModel, PeoplesText
from shared.contracts.tier import Tier


class SubscribedAddon(OutgoingModel):
    """A recurring add-on of a subscription, by its code, and how often."""

    addon_code: Code
    quantity: Annotated[int, Field(ge=1)] = 1


class SubscriptionChanged(UserEvent):
    """The state of a subscription, and the user's tier. `subscription.changed.v1`.

    `version` rises over the events of the subscription, `tier_version` over all that carry the
    user's tier. Keep the highest `version` per `subscription_id` and, for the tier, the highest
    `tier_version` per `user_id`. `status` is Zoho's word. `cause` is what caused the change
    (`requested`, `renewed`, `cancelled`, …).
    """

    routing_key: ClassVar[str] = "subscription.changed.v1"
    carries_state: ClassVar[bool] = True

    subscription_id: Id
    status: Word
    active: bool
    plan_code: Code | None = None
    quantity: Annotated[int, Field(ge=1)] | None = None
    addons: tuple[SubscribedAddon, ...] = ()
    tier: Tier
    tier_version: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    term_ends_at: Day | None = None
    cause: Word
    origin: Origin = "application"

    def subject(self) -> str:
        return f"subscription:{self.subscription_id}"

    def version_subjects(self, subject: str) -> dict[str, str]:
        return {"version": subject, "tier_version": f"tier:{self.user_id}"}


class PaymentSucceeded(UserEvent):
    """A payment was received. `payment.succeeded.v1`."""

    routing_key: ClassVar[str] = "payment.succeeded.v1"

    payment_id: Id
    amount: Amount
    currency: Currency | None = None
    invoice_id: Id | None = None
    subscription_id: Id | None = None
    origin: Origin = "zoho"


class PaymentFailed(UserEvent):
    """A charge failed. `payment.failed.v1`."""

    routing_key: ClassVar[str] = "payment.failed.v1"

    payment_id: Id | None = None
    amount: Amount | None = None
    currency: Currency | None = None
    invoice_id: Id | None = None
    subscription_id: Id | None = None
    next_retry_at: Instant | None = None
    reason: PeoplesText | None = None  # the bank's or the gateway's words
    origin: Origin = "zoho"


class _InvoiceEvent(UserEvent):
    carries_state: ClassVar[bool] = True

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
    """An invoice was issued, under this id. `invoice.issued.v1`."""

    routing_key: ClassVar[str] = "invoice.issued.v1"


class InvoiceChanged(_InvoiceEvent):
    """An invoice was paid, voided, written off, or otherwise changed. `invoice.changed.v1`."""

    routing_key: ClassVar[str] = "invoice.changed.v1"
