"""Read from Books the amounts that make up revenue, each with its day and currency."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, timedelta
from typing import Final

from services.billing_worker.reports.currencies import Currencies
from services.billing_worker.reports.revenue import RevenueEntry, entries_of_invoice
from shared.zoho.products.books.client import ZohoBooks
from shared.zoho.products.books.models import CustomerPayment

# A time's day in UTC may be the one before or after its day in the organization's time zone.
_A_DAY: Final = timedelta(days=1)


class BooksEntries:
    """The entries of one report, in a range of days that includes both its ends."""

    def __init__(self, books: ZohoBooks, first: date, last: date) -> None:
        self._books = books
        self._first = first
        self._last = last
        self._currencies = Currencies(books)
        self._payments: list[CustomerPayment] | None = None

    async def earned(self) -> AsyncIterator[RevenueEntry]:
        """Accrual: invoices neither draft nor void, less write-offs, less credit notes."""
        async for invoice in self._books.invoices_dated(self._first, self._last):
            for entry in entries_of_invoice(invoice):
                yield entry
        async for credit in self.credited():
            yield RevenueEntry(credit.currency, credit.day, -credit.amount)

    async def paid(self) -> AsyncIterator[RevenueEntry]:
        """Cash: customer payments by their date, less refunds by theirs."""
        async for payment in self.collected():
            yield payment
        async for refund in self.refunded():
            yield RevenueEntry(refund.currency, refund.day, -refund.amount)

    async def credited(self) -> AsyncIterator[RevenueEntry]:
        """Credit notes that are neither draft nor void."""
        async for note in self._books.credit_notes_dated(self._first, self._last):
            if note.counts and note.date is not None:
                yield RevenueEntry(note.currency_code or "", note.date, note.total)

    async def collected(self) -> AsyncIterator[RevenueEntry]:
        """Customer payments."""
        payments = await self._payments_in_range()
        currencies = await self._currencies.of_payments(payments)
        for payment, currency in zip(payments, currencies, strict=True):
            if payment.date is not None:
                yield RevenueEntry(currency, payment.date, payment.amount)

    async def refunded(self) -> AsyncIterator[RevenueEntry]:
        """Refunds of credit notes (Billing's refunds are such) and of payments.

        Books lists refunds of payments under each payment only. They are read where the payment
        may have one. A refund counts by its own date, so payments before the range matter too: a
        refund modifies its payment, which leaves out those last modified before the range.
        """
        async for refund in self._books.credit_note_refunds_dated(self._first, self._last):
            if refund.date is not None:
                currency = await self._currencies.of_credit_note_refund(refund)
                yield RevenueEntry(currency, refund.date, refund.amount)
        earlier = self._books.customer_payments_before(
            self._first, modified_since=self._first - _A_DAY
        )
        payments = [*await self._payments_in_range(), *[payment async for payment in earlier]]
        refundable = [payment for payment in payments if payment.may_have_refunds]
        currencies = await self._currencies.of_payments(refundable)
        for payment, currency in zip(refundable, currencies, strict=True):
            for refund in await self._books.customer_payment_refunds(payment.payment_id):
                if refund.date is not None and self._first <= refund.date <= self._last:
                    yield RevenueEntry(currency, refund.date, refund.amount)

    async def _payments_in_range(self) -> list[CustomerPayment]:
        if self._payments is None:
            listed = self._books.customer_payments_dated(self._first, self._last)
            self._payments = [payment async for payment in listed]
        return self._payments
