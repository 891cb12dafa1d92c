"""Model what Zoho Billing sends and takes. Sources: https://www.zoho.com/billing/api/v1/."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import AliasChoices, BeforeValidator, Field

from shared.zoho.products.values import (
    MaybeId,
    MaybeZohoMoney,
    ZohoDay,
    ZohoId,
    ZohoModel,
    ZohoText,
    ZohoTime,
    none_if_nothing,
)

_RENEWING = frozenset({"trial", "live", "future", "unpaid", "dunning", "paused"})
_ENDED = frozenset({"cancelled", "cancelled_from_dunning", "expired", "trial_expired"})


class CustomField(ZohoModel):
    """Billing shows a custom field by its label, newer answers by its API name as well."""

    label: ZohoText = None
    api_name: ZohoText = None
    value: Any = None


class Customer(ZohoModel):
    """A customer. Lists carry fewer fields than a single read, custom fields among them."""

    customer_id: ZohoId
    display_name: str = ""
    email: ZohoText = None
    first_name: ZohoText = None
    last_name: ZohoText = None
    phone: ZohoText = None
    status: str = ""
    currency_code: ZohoText = None
    custom_fields: tuple[CustomField, ...] = ()
    updated_time: ZohoTime = None

    def custom_field(self, name: str) -> str | None:
        """The value of the field of this label or API name. None when empty or not there."""
        for field in self.custom_fields:
            if name in (field.label, field.api_name) and field.value not in (None, ""):
                return str(field.value)
        return None


class Plan(ZohoModel):
    """A plan, keyed by our own code."""

    plan_code: str
    name: str = ""
    recurring_price: MaybeZohoMoney = None
    interval: int | None = None
    interval_unit: ZohoText = None
    trial_period: int | None = None
    status: ZohoText = None


class SubscriptionPlan(ZohoModel):
    plan_code: str
    name: ZohoText = None
    quantity: MaybeZohoMoney = None
    price: MaybeZohoMoney = None


class Addon(ZohoModel):
    """An add-on as the organization sells it."""

    addon_code: str
    name: ZohoText = None
    type: ZohoText = None


class SubscriptionAddon(ZohoModel):
    """An add-on of a subscription. `type` is recurring or one_time, where Zoho says so."""

    addon_code: str
    quantity: MaybeZohoMoney = None
    type: ZohoText = Field(default=None, validation_alias=AliasChoices("type", "addon_type"))


class SubscriptionCustomer(ZohoModel):
    customer_id: ZohoId
    email: ZohoText = None
    display_name: ZohoText = None


class Card(ZohoModel):
    card_id: ZohoId
    last_four_digits: Any = None
    status: ZohoText = None


def _rows(value: Any) -> Any:
    return value or ()


class Subscription(ZohoModel):
    """A subscription. In lists the plan's code and the customer's id stand at the top level."""

    subscription_id: ZohoId
    status: str
    name: ZohoText = None
    amount: MaybeZohoMoney = None
    reference_id: ZohoText = None
    plan: SubscriptionPlan | None = None
    listed_plan_code: ZohoText = Field(default=None, validation_alias="plan_code")
    customer: SubscriptionCustomer | None = None
    listed_customer_id: MaybeId = Field(default=None, validation_alias="customer_id")
    currency_code: ZohoText = None
    auto_collect: bool | None = None
    activated_at: ZohoDay = None
    trial_ends_at: ZohoDay = None
    current_term_starts_at: ZohoDay = None
    current_term_ends_at: ZohoDay = None
    next_billing_at: ZohoDay = None
    expires_at: ZohoDay = None
    cancelled_at: ZohoDay = None
    child_invoice_id: MaybeId = None
    addons: Annotated[tuple[SubscriptionAddon, ...], BeforeValidator(_rows)] = ()
    card: Annotated[Card | None, BeforeValidator(none_if_nothing)] = None
    updated_time: ZohoTime = None

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

    @property
    def recurring_addons(self) -> dict[str, int]:
        """How often each add-on is in every term, by its code. One-time ones are in one only."""
        return {
            addon.addon_code: int(addon.quantity or 1)
            for addon in self.addons
            if (addon.type or "").lower().replace("_", "") != "onetime"
        }


class InvoicePayment(ZohoModel):
    payment_id: ZohoId
    amount: MaybeZohoMoney = None


class BillingInvoice(ZohoModel):
    """An invoice as Billing has it. Books has the same number under another id."""

    invoice_id: ZohoId
    number: ZohoText = Field(
        default=None, validation_alias=AliasChoices("number", "invoice_number")
    )
    status: str = ""
    invoice_date: ZohoDay = Field(
        default=None, validation_alias=AliasChoices("invoice_date", "date")
    )
    due_date: ZohoDay = None
    customer_id: MaybeId = None
    total: MaybeZohoMoney = None
    balance: MaybeZohoMoney = None
    payment_made: MaybeZohoMoney = None
    write_off_amount: MaybeZohoMoney = None
    currency_code: ZohoText = None
    payments: tuple[InvoicePayment, ...] = ()
    updated_time: ZohoTime = None


class AppliedInvoice(ZohoModel):
    invoice_id: ZohoId
    invoice_number: ZohoText = None
    amount_applied: MaybeZohoMoney = None


class AutoTransaction(ZohoModel):
    """Present when a card was charged: only such a payment can be refunded by the API."""

    autotransaction_id: MaybeId = None
    gateway_error_message: ZohoText = None
    card_id: MaybeId = None


class Payment(ZohoModel):
    payment_id: ZohoId
    payment_mode: str = ""
    status: ZohoText = None
    amount: MaybeZohoMoney = None
    amount_refunded: MaybeZohoMoney = None
    date: ZohoDay = None
    reference_number: ZohoText = None
    description: ZohoText = None
    customer_id: MaybeId = None
    email: ZohoText = None
    currency_code: ZohoText = None
    invoices: tuple[AppliedInvoice, ...] = ()
    autotransaction: Annotated[AutoTransaction | None, BeforeValidator(none_if_nothing)] = None
    created_time: ZohoTime = None
    updated_time: ZohoTime = None


class BillingRefund(ZohoModel):
    refund_id: ZohoId = Field(validation_alias=AliasChoices("refund_id", "creditnote_refund_id"))
    amount: MaybeZohoMoney = None
    description: ZohoText = None
    status: ZohoText = None
    date: ZohoDay = None
