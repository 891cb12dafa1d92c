"""Read what Zoho's webhooks carry, tolerantly: unknown fields are ignored, odd ones are absent.

A webhook is a hint. What is read here names the thing to look at, and how new the hint is.
Sources: Billing's event object (docs/zoho/finance.md §3.3), CRM's channel callbacks and
Desk's webhook events (docs/zoho, crm.md §1.7 and desk.md §2.6).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    AliasChoices,
    AliasPath,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)


def _or_none(value: Any, parse: ValidatorFunctionWrapHandler) -> Any:
    # Zoho sends "" for what is not there, and its shapes vary by configuration.
    if value in ("", None):
        return None
    try:
        return parse(value)
    except ValidationError:
        return None


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _digits_as_number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isdigit() else value  # epoch ms, as text


def _number_as_text(value: Any) -> Any:
    return f"{value:04}" if isinstance(value, int) else value  # a card's last four digits


_Tolerant = WrapValidator(_or_none)
_Text = Annotated[str | None, _Tolerant]
_Amount = Annotated[Decimal | None, _Tolerant]
_TextOrDigits = Annotated[str | None, BeforeValidator(_number_as_text), _Tolerant]
_Number = Annotated[int | None, _Tolerant]
_Day = Annotated[date | None, _Tolerant]
_Time = Annotated[
    Annotated[datetime, AfterValidator(_aware), BeforeValidator(_digits_as_number)] | None,
    _Tolerant,
]


def _of(*paths: str) -> Any:
    """Read the field from the first of these paths (`customer.email`) that is there."""
    choices = [AliasPath(*_steps(path)) for path in paths]
    return Field(default=None, validation_alias=AliasChoices(*choices))


def _steps(path: str) -> list[Any]:
    return [int(step) if step.isdigit() else step for step in path.split(".")]


class ZohoPayload(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)


class SubscriptionHint(ZohoPayload):
    subscription_id: _Text = None
    status: _Text = None
    reference_id: _Text = None
    plan_code: _Text = _of("plan.plan_code", "plan_code")
    customer_id: _Text = _of("customer.customer_id", "customer_id")
    email: _Text = _of("customer.email", "email")
    term_ends_at: _Day = _of("current_term_ends_at")
    child_invoice_id: _Text = None
    updated_time: _Time = _of("updated_time", "last_modified_time")


class InvoiceHint(ZohoPayload):
    invoice_id: _Text = None
    number: _Text = _of("number", "invoice_number")
    status: _Text = None
    total: _Amount = None
    balance: _Amount = None
    currency: _Text = _of("currency_code")
    customer_id: _Text = _of("customer_id", "customer.customer_id")
    email: _Text = _of("email", "customer.email")
    subscription_id: _Text = _of("subscription_id", "subscriptions.0.subscription_id")
    updated_time: _Time = _of("updated_time", "last_modified_time")


class PaymentHint(ZohoPayload):
    payment_id: _Text = None
    status: _Text = None
    amount: _Amount = None
    currency: _Text = _of("currency_code")
    customer_id: _Text = _of("customer_id", "customer.customer_id")
    email: _Text = _of("email", "customer.email")
    invoice_id: _Text = _of("invoice_id", "invoices.0.invoice_id")
    subscription_id: _Text = _of("subscription_id", "invoices.0.subscription_ids.0")
    next_retry_at: _Time = None
    gateway_error: _Text = _of("autotransaction.gateway_error_message")
    updated_time: _Time = _of("updated_time", "last_modified_time")


class RefundHint(ZohoPayload):
    refund_id: _Text = _of("refund_id", "creditnote_refund_id")
    amount: _Amount = None


class CardHint(ZohoPayload):
    customer_id: _Text = None
    last_four_digits: _TextOrDigits = None
    expiry_month: _Number = None
    expiry_year: _Number = None


class CustomerHint(ZohoPayload):
    customer_id: _Text = _of("customer_id", "contact_id")
    email: _Text = None


class BillingWebhook(ZohoPayload):
    """An event of Billing or Books, a flat object of type and data, or a bare module record.

    What is not in `data` may lie at the top: workflow webhooks have no `event_type` and no `data`.
    The events API has it as a JSON string in `payload`.
    """

    event_type: _Text = None
    event_id: _Text = None
    event_time: _Time = None
    subscription: SubscriptionHint | None = None
    invoice: InvoiceHint | None = None
    payment: PaymentHint | None = None
    refund: RefundHint | None = None
    card: CardHint | None = None
    customer: CustomerHint | None = None

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Self:
        data = _data(body)
        parts = {
            "subscription": _part(data, "subscription"),
            "invoice": _part(data, "invoice"),
            "payment": _part(data, "payment", "customerpayment", "customer_payment"),
            "refund": _part(data, "refund"),
            "card": _part(data, "card"),
            "customer": _part(data, "customer", "contact"),
        }
        head = {key: body.get(key) for key in ("event_type", "event_id", "event_time")}
        return cls.model_validate({**head, **parts})

    @property
    def customer_id(self) -> str | None:
        """Return Zoho's id of the customer, wherever the event has it."""
        parts = (self.subscription, self.payment, self.invoice, self.customer, self.card)
        return next((part.customer_id for part in parts if part and part.customer_id), None)

    @property
    def email(self) -> str | None:
        parts = (self.subscription, self.payment, self.invoice, self.customer)
        return next((part.email for part in parts if part and part.email), None)


def _data(body: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in ("data", "payload"):
        content = body.get(name)
        if isinstance(content, str):
            try:
                content = json.loads(content)
            except ValueError:
                content = None
        if isinstance(content, Mapping):
            return content
    return body


def _part(data: Mapping[str, Any], *names: str) -> Mapping[str, Any] | None:
    return next((data[name] for name in names if isinstance(data.get(name), Mapping)), None)


class TicketHint(ZohoPayload):
    """A ticket as a Desk event shows it, with ids and state and without texts."""

    ticket_id: _Text = _of("id", "ticketId")
    status: _Text = None
    status_type: _Text = _of("statusType")
    closed_time: _Time = _of("closedTime")
    modified_time: _Time = _of("modifiedTime")


class DeskWebhook(ZohoPayload):
    """One element of the array that Desk posts. `eventTime` is epoch milliseconds as text."""

    event_type: _Text = _of("eventType")
    event_time: _Time = _of("eventTime")
    org_id: _Text = _of("orgId")
    ticket: TicketHint = Field(default=TicketHint(), validation_alias="payload")
    before: TicketHint | None = Field(default=None, validation_alias="prevState")


class CrmNotification(ZohoPayload):
    """A channel's callback, which names many `ids`, or a workflow webhook, which names one.

    `affected_fields`: an object for each record, from its id to the API names that changed.
    """

    ids: Annotated[tuple[str, ...], BeforeValidator(lambda ids: ids or ())] = ()
    affected_fields: Annotated[list[dict[str, list[str]]], _Tolerant] | None = None
    contact_id: _Text = _of("contact_id", "Contact_Id", "Contact Id", "id")

    @property
    def record_ids(self) -> tuple[str, ...]:
        return self.ids or ((self.contact_id,) if self.contact_id else ())

    def may_have_changed(self, record_id: str, names: Collection[str]) -> bool:
        """Whether one of these fields may have changed. A body that does not say may mean any."""
        if self.affected_fields is None:
            return True
        affected = [fields[record_id] for fields in self.affected_fields if record_id in fields]
        return not affected or any(name in names for fields in affected for name in fields)


def record_of(product: str, payload: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return kind and Zoho's id of the record that a webhook is about; None when it names none.

    Webhooks with the same record are done one after another, so that one read serves a burst.
    """
    try:
        if product == "desk":
            return _desk_record(payload)
        if product == "crm":
            ids = CrmNotification.model_validate(payload).record_ids
            return ("record", ids[0]) if len(ids) == 1 else None
        return _finance_record(BillingWebhook.of(payload))
    except ValidationError:
        return None


def _desk_record(payload: Mapping[str, Any]) -> tuple[str, str] | None:
    resource = payload.get("payload")
    if not isinstance(resource, Mapping):
        return None
    # Comments and threads name their ticket.
    ticket_id = resource.get("ticketId") or resource.get("id")
    return ("ticket", str(ticket_id)) if ticket_id else None


def _finance_record(hint: BillingWebhook) -> tuple[str, str] | None:
    ids = (
        ("subscription", hint.subscription and hint.subscription.subscription_id),
        ("invoice", hint.invoice and hint.invoice.invoice_id),
        ("payment", hint.payment and hint.payment.payment_id),
        ("customer", hint.customer_id),
    )
    return next(((kind, zoho_id) for kind, zoho_id in ids if zoho_id), None)
