"""Define what the application should notify its user of, as this system sends no mail."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Self, get_args

from pydantic import model_validator

from shared.contracts.events.event import Event
from shared.contracts.fields import Amount, Code, Currency, Email, Id, Instant, Word
from shared.contracts.outgoing import OutgoingModel, PeoplesText

Template = Literal[
    "payment_failed",
    "payment_refunded",
    "card_expiring",
    "trial_ending",
    "subscription_renewed",
    "subscription_cancelled",
    "subscription_expired",
    "ticket_created",
    "ticket_updated",
    "ticket_resolved",
]


class Notice(OutgoingModel):
    """The data of one template."""

    template: ClassVar[Template]

    def subject_without_user(self) -> str | None:
        """Return the subject of the event when the user is not known."""
        return None


class PaymentFailedNotice(Notice):
    template: ClassVar[Template] = "payment_failed"

    payment_id: Id | None = None
    subscription_id: Id | None = None
    invoice_id: Id | None = None
    amount: Amount | None = None
    currency: Currency | None = None
    next_retry_at: Instant | None = None


class PaymentRefundedNotice(Notice):
    template: ClassVar[Template] = "payment_refunded"

    payment_id: Id | None = None
    invoice_id: Id | None = None
    amount: Amount | None = None
    currency: Currency | None = None


class CardExpiringNotice(Notice):
    template: ClassVar[Template] = "card_expiring"

    expires_month: int
    expires_year: int
    last_four_digits: str | None = None


class _SubscriptionNotice(Notice):
    subscription_id: Id
    plan_code: Code | None = None
    ends_at: date | None = None


class TrialEndingNotice(_SubscriptionNotice):
    template: ClassVar[Template] = "trial_ending"


class SubscriptionRenewedNotice(_SubscriptionNotice):
    template: ClassVar[Template] = "subscription_renewed"


class SubscriptionCancelledNotice(_SubscriptionNotice):
    template: ClassVar[Template] = "subscription_cancelled"


class SubscriptionExpiredNotice(_SubscriptionNotice):
    template: ClassVar[Template] = "subscription_expired"


class _TicketNotice(Notice):
    escalation_id: Id
    subject: PeoplesText | None = None

    def subject_without_user(self) -> str | None:
        return f"ticket:{self.escalation_id}"


class TicketCreatedNotice(_TicketNotice):
    template: ClassVar[Template] = "ticket_created"


class TicketUpdatedNotice(_TicketNotice):
    template: ClassVar[Template] = "ticket_updated"

    status: Word | None = None
    content: PeoplesText | None = None  # of a public reply or comment, as plain text


class TicketResolvedNotice(_TicketNotice):
    template: ClassVar[Template] = "ticket_resolved"

    resolution: PeoplesText | None = None
    resolved_at: Instant | None = None


AnyNotice = (
    PaymentFailedNotice
    | PaymentRefundedNotice
    | CardExpiringNotice
    | TrialEndingNotice
    | SubscriptionRenewedNotice
    | SubscriptionCancelledNotice
    | SubscriptionExpiredNotice
    | TicketCreatedNotice
    | TicketUpdatedNotice
    | TicketResolvedNotice
)
NOTICES: Mapping[str, type[Notice]] = MappingProxyType(
    {notice.template: notice for notice in get_args(AnyNotice)}
)


class NotificationRequested(Event):
    """Notify the user, in your own words and from your own address. `notification.requested.v1`.

    `NotificationRequested.of(notice, email=…, user_id=…)` fills in the template.
    """

    routing_key: ClassVar[str] = "notification.requested.v1"

    user_id: Id | None = None
    email: Email
    template: Template
    data: AnyNotice

    @classmethod
    def of(cls, notice: AnyNotice, *, email: str, user_id: str | None = None) -> Self:
        return cls(user_id=user_id, email=email, template=notice.template, data=notice)

    def subject(self) -> str:
        if self.user_id is not None:
            return f"user:{self.user_id}"
        return self.data.subject_without_user() or f"notification:{self.template}"

    @model_validator(mode="before")
    @classmethod
    def _read_data_by_template(cls, values: Any) -> Any:
        # Several notices have the same fields, so the template decides and not what happens to fit.
        if isinstance(values, dict) and isinstance(values.get("data"), dict):
            notice = NOTICES.get(str(values.get("template")))
            if notice is not None:
                return {**values, "data": notice.model_validate(values["data"])}
        return values

    @model_validator(mode="after")
    def _data_is_of_template(self) -> Self:
        if self.data.template != self.template:
            raise ValueError("data must be that of the template")
        return self
