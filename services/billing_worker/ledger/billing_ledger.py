"""Keep the books of an organization without Zoho Books: from what Billing lists.

Billing's lists have no filter by date, so a report reads all pages and compares every row. It lists
no credit notes and no refunds but as transactions, which have neither currency nor customer.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Self

from services.billing_worker.repositories.users import User
from shared.errors import PermanentError
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.zoho.products.billing.client import ZohoBilling
from shared.zoho.products.books.models import (
    BooksContact,
    BooksRefund,
    CreditNote,
    CustomerPayment,
    Invoice,
    Organization,
)
from shared.zoho.products.finance.pages import Listing
from shared.zoho.quota.priority import Priority

_REASON = "written off"


class BillingLedger:
    """Billing's records in the form of Books'. `time_zone` is the organization's, by configuration.

    An amount that was written off is not in the rows of Billing's list of invoices, so revenue of
    the range is not reduced by it.
    """

    refunds_are_of_credit_notes = True

    def __init__(self, zoho: ZohoBilling, time_zone: str) -> None:
        self._zoho = zoho
        self._time_zone = time_zone
        self.org = zoho.org

    def on(self, priority: Priority) -> Self:
        """Return the same ledger, whose calls have another priority."""
        other = copy(self)
        other._zoho = self._zoho.on(priority)  # noqa: SLF001
        return other

    async def invoice(self, invoice_id: str) -> Invoice:
        return await self._zoho.invoice_as(Invoice, invoice_id)

    async def invoice_pdf(self, invoice_id: str) -> bytes:
        return await self._zoho.invoice_pdf(invoice_id)

    async def invoices_of(self, customer_id: str) -> list[Invoice]:
        listing = self._zoho.invoice_rows(
            Invoice, lambda one: one.customer_id == customer_id, customer_id=customer_id
        )
        found = [invoice async for invoice in listing]
        return sorted(found, key=lambda one: (one.date or date.min, one.invoice_number))

    async def mark_invoice_void(self, invoice_id: str) -> None:
        await self._zoho.void_invoice(invoice_id)

    async def write_off_invoice(self, invoice_id: str) -> None:
        await self._zoho.write_off_invoice(invoice_id, reason=_REASON)

    def invoices_dated(self, first: date, last: date) -> Listing[Invoice]:
        return self._zoho.invoice_rows(Invoice, lambda one: _within(one.date, first, last))

    def invoices_unpaid(self) -> Listing[Invoice]:
        return self._zoho.invoice_rows(
            Invoice, lambda one: one.counts and one.balance > 0, status="Unpaid"
        )

    def credit_notes_dated(self, first: date, last: date) -> Listing[CreditNote]:
        return self._zoho.transaction_rows(
            CreditNote, "CREDIT", lambda one: _within(one.date, first, last)
        )

    async def credit_note(self, creditnote_id: str) -> CreditNote:
        """Billing's refunds name no credit note, so none is ever asked for."""
        raise PermanentError("Billing's refunds name no credit note", code="currency_unknown")

    def credit_note_refunds_dated(self, first: date, last: date) -> Listing[BooksRefund]:
        return self._zoho.transaction_rows(
            BooksRefund, "REFUND", lambda one: _within(one.date, first, last)
        )

    def customer_payments_dated(self, first: date, last: date) -> Listing[CustomerPayment]:
        return self._zoho.payment_rows(
            CustomerPayment, lambda one: one.received and _within(one.date, first, last)
        )

    def customer_payments_before(
        self, day: date, *, modified_since: date
    ) -> Listing[CustomerPayment]:
        """Those of before, whenever they were modified: Billing's rows do not say."""
        return self._zoho.payment_rows(
            CustomerPayment, lambda one: one.received and one.date is not None and one.date < day
        )

    async def customer_payment(self, payment_id: str) -> CustomerPayment:
        return await self._zoho.payment_as(CustomerPayment, payment_id)

    async def customer_payment_refunds(self, payment_id: str) -> Sequence[BooksRefund]:
        """None: Billing refunds a payment by a credit note."""
        return ()

    def contacts(self) -> Listing[BooksContact]:
        return self._zoho.customer_rows(BooksContact)

    async def contact(self, contact_id: str) -> BooksContact:
        return BooksContact(
            contact_id=contact_id,
            currency_code=(await self._zoho.customer(contact_id)).currency_code,
        )

    async def currencies(self) -> list[str]:
        """The currencies of the customers: no documented call of Billing's lists others."""
        listing = self._zoho.customer_rows(BooksContact)
        return sorted({one.currency_code async for one in listing if one.currency_code})

    async def operating_income(self, first: date, last: date) -> Decimal | None:
        """None: the report is one of Books'."""
        return None

    async def organization(self, organization_id: str) -> Organization:
        return Organization(organization_id=organization_id, time_zone=self._time_zone)


@dataclass(frozen=True)
class BillingContacts:
    """Billing bills its own customers."""

    zoho: ZohoBilling

    async def id_of(self, user: User, work: UnitOfWork) -> str | None:
        """Billing's id of the user's customer. None before there is one."""
        return user.customer_id

    async def currency_of(self, contact_id: str) -> str | None:
        return (await self.zoho.customer(contact_id)).currency_code


def _within(day: date | None, first: date, last: date) -> bool:
    return day is not None and first <= day <= last
