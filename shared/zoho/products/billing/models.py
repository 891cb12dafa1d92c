"""What Zoho Billing sends, and what it is sent. Sources: https://www.zoho.com/billing/api/v1/."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import AliasChoices, BeforeValidator, Field

from shared.zoho.products.values import (
    Day,
    MaybeId,
    MaybeMoney,
    Text,
    Time,
    ZohoId,
    ZohoModel,
    none_if_nothing,
)

_RENEWING = frozenset({"trial", "live", "future", "unpaid", "dunning", "paused"})
_ENDED = frozenset({"cancelled", "cancelled_from_dunning", "expired", "trial_expired"})


class CustomField(ZohoModel):
    """Billing shows a custom field by its label, newer answers by its API name as well."""

    label: Text = None
    api_name: Text = None
    value: Any = None


class Customer(ZohoModel):
    """A customer. Lists carry fewer fields than a single read, custom fields among them."""

    customer_id: ZohoId
    display_name: str = ""
    email: Text = None
    first_name: Text = None
    last_name: Text = None
    phone: Text = None
    status: str = ""
    currency_code: Text = None
    custom_fields: tuple[CustomField, ...] = ()
    updated_time: Time = None

    def custom_field(self, name: str) -> str | None:
        """The value of the field of this label or API name; None when empty or not there."""
        for field in self.custom_fields:
            if name in (field.label, field.api_name) and field.value not in (None, ""):
                return str(field.value)
        return None


class Plan(ZohoModel):
    """A plan, keyed by our own code."""

    plan_code: str
    name: str = ""
    recurring_price: MaybeMoney = None
    interval: int | None = None
    interval_unit: Text = None
    trial_period: int | None = None
    status: Text = None


class SubscriptionPlan(ZohoModel):
    plan_code: str
    name: Text = None
    quantity: MaybeMoney = None
    price: MaybeMoney = None


class SubscriptionCustomer(ZohoModel):
    customer_id: ZohoId
    email: Text = None
    display_name: Text = None


class Card(ZohoModel):
    card_id: ZohoId
    last_four_digits: Any = None
    status: Text = None


class Subscription(ZohoModel):
    """A subscription. In lists the plan's code and the customer's id stand at the top level."""

    subscription_id: ZohoId
    status: str
    name: Text = None
    amount: MaybeMoney = None
    reference_id: Text = None
    plan: SubscriptionPlan | None = None
    listed_plan_code: Text = Field(default=None, validation_alias="plan_code")
    customer: SubscriptionCustomer | None = None
    listed_customer_id: MaybeId = Field(default=None, validation_alias="customer_id")
    currency_code: Text = None
    auto_collect: bool | None = None
    activated_at: Day = None
    trial_ends_at: Day = None
    current_term_starts_at: Day = None
    current_term_ends_at: Day = None
    next_billing_at: Day = None
    expires_at: Day = None
    cancelled_at: Day = None
    child_invoice_id: MaybeId = None
    card: Annotated[Card | None, BeforeValidator(none_if_nothing)] = None
    updated_time: Time = None

    @property
    def plan_code(self) -> str | None:
        return self.plan.plan_code if self.plan else self.listed_plan_code

    @property
    def customer_id(self) -> str | None:
        return self.customer.customer_id if self.customer else self.listed_customer_id

    @property
    def renews(self) -> bool:
        """Whether there is anything left to cancel at the end of the term."""
        return self.status in _RENEWING

    @property
    def ended(self) -> bool:
        return self.status in _ENDED

    @property
    def quantity(self) -> Decimal | None:
        return self.plan.quantity if self.plan else None


class InvoicePayment(ZohoModel):
    payment_id: ZohoId
    amount: MaybeMoney = None


class BillingInvoice(ZohoModel):
    """An invoice as Billing has it; Books has the same number under another id."""

    invoice_id: ZohoId
    number: Text = Field(default=None, validation_alias=AliasChoices("number", "invoice_number"))
    status: str = ""
    invoice_date: Day = Field(default=None, validation_alias=AliasChoices("invoice_date", "date"))
    due_date: Day = None
    customer_id: MaybeId = None
    total: MaybeMoney = None
    balance: MaybeMoney = None
    payment_made: MaybeMoney = None
    write_off_amount: MaybeMoney = None
    currency_code: Text = None
    payments: tuple[InvoicePayment, ...] = ()
    updated_time: Time = None


class AppliedInvoice(ZohoModel):
    invoice_id: ZohoId
    invoice_number: Text = None
    amount_applied: MaybeMoney = None


class AutoTransaction(ZohoModel):
    """Present when a card was charged: only such a payment can be refunded by the API."""

    autotransaction_id: MaybeId = None
    gateway_error_message: Text = None
    card_id: MaybeId = None


class Payment(ZohoModel):
    payment_id: ZohoId
    payment_mode: str = ""
    status: Text = None
    amount: MaybeMoney = None
    amount_refunded: MaybeMoney = None
    date: Day = None
    reference_number: Text = None
    description: Text = None
    customer_id: MaybeId = None
    email: Text = None
    currency_code: Text = None
    invoices: tuple[AppliedInvoice, ...] = ()
    autotransaction: Annotated[AutoTransaction | None, BeforeValidator(none_if_nothing)] = None
    created_time: Time = None
    updated_time: Time = None


class Refund(ZohoModel):
    refund_id: ZohoId = Field(validation_alias=AliasChoices("refund_id", "creditnote_refund_id"))
    amount: MaybeMoney = None
    description: Text = None
    status: Text = None
    date: Day = None


class BillingEvent(ZohoModel):
    """One entry of the event log; kept for 180 days. `payload` is JSON in a string."""

    event_id: ZohoId
    event_type: str
    event_time: Time = None
    payload: Text = None
