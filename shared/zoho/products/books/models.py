"""Model what Zoho Books sends. Sources: https://www.zoho.com/books/api/v3/."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from pydantic import AliasChoices, Field

from shared.zoho.products.values import (
    MaybeId,
    MaybeZohoMoney,
    ZohoDay,
    ZohoId,
    ZohoModel,
    ZohoMoney,
    ZohoText,
    ZohoTime,
)


class BooksInvoiceLine(ZohoModel):
    name: ZohoText = None
    description: ZohoText = None
    quantity: MaybeZohoMoney = None
    rate: MaybeZohoMoney = Field(default=None, validation_alias=AliasChoices("rate", "price"))
    tax_percentage: MaybeZohoMoney = None
    item_total: MaybeZohoMoney = None


class Invoice(ZohoModel):
    """An invoice. `status` is sent, draft, overdue, paid, void, unpaid, partially_paid or viewed.

    It is read from Billing's answers too, by the names that Billing has for its fields. Billing's
    `pending` is an invoice that is not complete yet.

    `invoice_url` is left out on purpose: it is a page of Zoho's.
    """

    invoice_id: ZohoId
    invoice_number: str = Field(
        default="", validation_alias=AliasChoices("invoice_number", "number")
    )
    status: str = ""
    customer_id: MaybeId = None
    customer_name: ZohoText = None
    email: ZohoText = None
    reference_number: ZohoText = None
    date: ZohoDay = Field(default=None, validation_alias=AliasChoices("date", "invoice_date"))
    due_date: ZohoDay = None
    currency_code: ZohoText = None
    sub_total: MaybeZohoMoney = None
    tax_total: MaybeZohoMoney = None
    total: ZohoMoney = Decimal(0)
    balance: ZohoMoney = Decimal(0)
    payment_made: MaybeZohoMoney = None
    credits_applied: MaybeZohoMoney = None
    write_off_amount: MaybeZohoMoney = None
    line_items: tuple[BooksInvoiceLine, ...] = Field(
        default=(), validation_alias=AliasChoices("line_items", "invoice_items")
    )
    last_modified_time: ZohoTime = None

    @property
    def counts(self) -> bool:
        """Whether it was issued and still stands: neither draft nor void."""
        return self.status.lower() not in ("draft", "pending", "void", "voided")


class CreditNote(ZohoModel):
    """A credit note, or Billing's transaction that is one, which has no currency."""

    creditnote_id: ZohoId = Field(validation_alias=AliasChoices("creditnote_id", "transaction_id"))
    status: str = ""
    date: ZohoDay = None
    total: ZohoMoney = Field(default=Decimal(0), validation_alias=AliasChoices("total", "amount"))
    currency_code: ZohoText = None

    @property
    def counts(self) -> bool:
        return self.status.lower() not in ("draft", "void", "voided")


class CustomerPayment(ZohoModel):
    """A payment received.

    Rows of real organizations have neither `currency_code` nor `amount_refunded`, only amounts in
    the base currency (`bcy_…`). A single read has both.
    """

    payment_id: ZohoId
    customer_id: MaybeId = None
    date: ZohoDay = None
    amount: ZohoMoney = Decimal(0)
    refunded: MaybeZohoMoney = Field(
        default=None, validation_alias=AliasChoices("amount_refunded", "bcy_refunded_amount")
    )
    currency_code: ZohoText = None
    reference_number: ZohoText = None
    payment_mode: ZohoText = None
    status: ZohoText = None
    last_modified_time: ZohoTime = None

    @property
    def received(self) -> bool:
        """Whether money came in. Billing lists charges that failed as well."""
        return self.status != "failure"

    @property
    def may_have_refunds(self) -> bool:
        """Whether refunds may exist. A row without the field does not rule them out."""
        return self.refunded is None or bool(self.refunded)


class BooksRefund(ZohoModel):
    """Money given back, from a credit note or from a payment.

    Lists give the amount as `amount_fcy`, in the currency of the credit note or payment.
    """

    refund_id: ZohoId = Field(
        validation_alias=AliasChoices(
            "creditnote_refund_id", "payment_refund_id", "refund_id", "transaction_id"
        )
    )
    creditnote_id: MaybeId = None
    payment_id: MaybeId = None
    date: ZohoDay = None
    amount: ZohoMoney = Field(
        default=Decimal(0), validation_alias=AliasChoices("amount_fcy", "amount", "amount_bcy")
    )
    currency_code: ZohoText = None


class BooksContact(ZohoModel):
    """A customer as Books has it. Billing's customer has another id."""

    contact_id: ZohoId = Field(validation_alias=AliasChoices("contact_id", "customer_id"))
    contact_name: ZohoText = None
    email: ZohoText = None
    currency_code: ZohoText = None


class ReportedAccount(ZohoModel):
    """A line of a report. Its `account_transactions` are lines again."""

    total: MaybeZohoMoney = None


class Organization(ZohoModel):
    """`time_zone` decides the current day for Books. `time_zones.zone_of` reads its names."""

    organization_id: ZohoId
    name: ZohoText = None
    time_zone: ZohoText = None
    currency_code: ZohoText = None


def account_total(accounts: Any, name: str) -> Decimal | None:
    """The total of the account of this name (in lower case) in a report of nested accounts.

    None when the report has none, or another form.
    """
    for account in accounts if isinstance(accounts, list) else ():
        if not isinstance(account, Mapping):
            continue
        if str(account.get("name", "")).strip().lower() == name:
            return ReportedAccount.model_validate(account).total
        if (total := account_total(account.get("account_transactions"), name)) is not None:
            return total
    return None
