"""What Zoho Books sends. Sources: https://www.zoho.com/books/api/v3/."""

from __future__ import annotations

from decimal import Decimal

from pydantic import AliasChoices, Field

from shared.zoho.products.values import (
    Day,
    MaybeId,
    MaybeMoney,
    Money,
    Text,
    Time,
    ZohoId,
    ZohoModel,
)


class InvoiceLine(ZohoModel):
    name: Text = None
    description: Text = None
    quantity: MaybeMoney = None
    rate: MaybeMoney = None
    tax_percentage: MaybeMoney = None
    item_total: MaybeMoney = None


class Invoice(ZohoModel):
    """An invoice. `status` is sent, draft, overdue, paid, void, unpaid, partially_paid or viewed.

    `invoice_url` is left out on purpose: it is a page of Zoho's.
    """

    invoice_id: ZohoId
    invoice_number: str = ""
    status: str = ""
    customer_id: MaybeId = None
    customer_name: Text = None
    email: Text = None
    reference_number: Text = None
    date: Day = None
    due_date: Day = None
    currency_code: Text = None
    sub_total: MaybeMoney = None
    tax_total: MaybeMoney = None
    total: Money = Decimal(0)
    balance: Money = Decimal(0)
    payment_made: MaybeMoney = None
    credits_applied: MaybeMoney = None
    write_off_amount: MaybeMoney = None
    line_items: tuple[InvoiceLine, ...] = ()
    last_modified_time: Time = None

    @property
    def counts(self) -> bool:
        """Whether it was issued and still stands: neither draft nor void."""
        return self.status.lower() not in ("draft", "void", "voided")


class CreditNote(ZohoModel):
    creditnote_id: ZohoId
    status: str = ""
    date: Day = None
    total: Money = Decimal(0)
    currency_code: Text = None

    @property
    def counts(self) -> bool:
        return self.status.lower() not in ("draft", "void", "voided")


class CustomerPayment(ZohoModel):
    """A payment received. Lists may name the amount refunded; it tells where refunds are."""

    payment_id: ZohoId
    date: Day = None
    amount: Money = Decimal(0)
    amount_refunded: MaybeMoney = None
    currency_code: Text = None
    reference_number: Text = None
    payment_mode: Text = None


class Refund(ZohoModel):
    """Money given back, from a credit note or from a payment.

    Lists give the amount as `amount_fcy`, in the currency of the credit note or payment.
    """

    refund_id: ZohoId = Field(
        validation_alias=AliasChoices("creditnote_refund_id", "payment_refund_id", "refund_id")
    )
    creditnote_id: MaybeId = None
    payment_id: MaybeId = None
    date: Day = None
    amount: Money = Field(
        default=Decimal(0), validation_alias=AliasChoices("amount_fcy", "amount", "amount_bcy")
    )
    currency_code: Text = None


class Contact(ZohoModel):
    """A customer as Books has it; Billing's customer has another id."""

    contact_id: ZohoId
    contact_name: Text = None
    email: Text = None
    currency_code: Text = None


class Organization(ZohoModel):
    """`time_zone` is an IANA name; it decides what day it is for Books."""

    organization_id: ZohoId
    name: Text = None
    time_zone: Text = None
    currency_code: Text = None
