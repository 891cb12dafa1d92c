"""Read from the ledger the amounts that make up revenue, each with its day and currency."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, timedelta
from functools import partial
from typing import Final

from services.billing_worker.ledger.ledger import Ledger
from services.billing_worker.reports.currencies import Currencies
from services.billing_worker.reports.revenue import RevenueEntry, entries_of_invoice
from services.billing_worker.reports.saved_reads import SavedReads
from shared.zoho.products.books.models import BooksRefund, CustomerPayment, Invoice

# A time's day in UTC may be the one before or after its day in the organization's time zone.
_A_DAY: Final = timedelta(days=1)
_A_YEAR: Final = timedelta(days=365)


class BooksEntries:
    """The entries of one report, in a range of days that includes both its ends."""

    def __init__(self, ledger: Ledger, reads: SavedReads, first: date, last: date) -> None:
        self._ledger = ledger
        self._reads = reads
        self._first = first
        self._last = last
        # A refund of a note that is older than a year costs a call of its own.
        notes = ledger.credit_notes_dated(first - _A_YEAR, last)
        self._currencies = Currencies(ledger, reads, notes)
        self._payments: list[CustomerPayment] | None = None

    def invoices(self) -> AsyncIterator[Invoice]:
        """Invoices dated in the range. Drafts and void ones too."""
        listing = self._ledger.invoices_dated(self._first, self._last)
        return self._reads.all_of("invoices", listing)

    async def earned(self) -> AsyncIterator[RevenueEntry]:
        """Accrual: invoices neither draft nor void, less write-offs, less credit notes."""
        async for invoice in self.invoices():
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
        listing = self._ledger.credit_notes_dated(self._first, self._last)
        notes = [n async for n in self._reads.all_of("credit notes", listing) if n.counts]
        currencies = await self._currencies.of_credit_notes(notes)
        for note, currency in zip(notes, currencies, strict=True):
            if note.date is not None:
                yield RevenueEntry(currency, note.date, note.total)

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
        listing = self._ledger.credit_note_refunds_dated(self._first, self._last)
        of_notes = [r async for r in self._reads.all_of("refunds of credit notes", listing)]
        currencies = await self._currencies.of_credit_note_refunds(of_notes)
        for refund, currency in zip(of_notes, currencies, strict=True):
            if refund.date is not None:
                yield RevenueEntry(currency, refund.date, refund.amount)
        if self._ledger.refunds_are_of_credit_notes:
            return
        payments = [*await self._payments_in_range(), *await self._earlier_payments()]
        refundable = [payment for payment in payments if payment.may_have_refunds]
        currencies = await self._currencies.of_payments(refundable)
        for n, (payment, currency) in enumerate(zip(refundable, currencies, strict=True)):
            for refund in await self._refunds_of(payment, n):
                if refund.date is not None and self._first <= refund.date <= self._last:
                    yield RevenueEntry(currency, refund.date, refund.amount)

    async def _refunds_of(self, payment: CustomerPayment, n: int) -> list[BooksRefund]:
        """`n`: the payment's place in its list, because its id is Zoho's."""
        read = partial(self._ledger.customer_payment_refunds, payment.payment_id)
        return list(await self._reads.once(f"refunds of payment {n}", BooksRefund, read))

    async def _payments_in_range(self) -> list[CustomerPayment]:
        if self._payments is None:
            listing = self._ledger.customer_payments_dated(self._first, self._last)
            listed = self._reads.all_of("payments", listing)
            self._payments = [payment async for payment in listed]
        return self._payments

    async def _earlier_payments(self) -> list[CustomerPayment]:
        since = self._first - _A_DAY
        listing = self._ledger.customer_payments_before(self._first, modified_since=since)
        return [payment async for payment in self._reads.all_of("earlier payments", listing)]
