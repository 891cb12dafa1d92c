"""Answer report commands. Books has no reports by API, so they are summed from all listed pages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from services.billing_worker.reports.revenue import (
    Revenue,
    RevenueEntry,
    entries_of_invoice,
    receivables_by_age,
)
from shared.contracts.commands import (
    ReportReceivablesRequested,
    ReportRevenueRequested,
    ReportSummaryRequested,
)
from shared.contracts.money import as_money
from shared.contracts.replies import (
    OwedInCurrency,
    ReceivablesReport,
    RevenueInCurrency,
    RevenuePeriod,
    RevenueReport,
    SummaryInCurrency,
    SummaryReport,
)
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.zoho.products.books.client import ZohoBooks
from shared.zoho.products.books.models import BooksRefund, CustomerPayment

_SUMS = ("invoiced", "collected", "credited", "refunded", "written_off", "outstanding")


@dataclass(frozen=True, kw_only=True)
class ReportHandlers:
    """`organization_id` is that of Books. Its time zone decides the current day."""

    books: ZohoBooks
    organization_id: str

    async def revenue(self, message: ReportRevenueRequested, work: UnitOfWork) -> None:
        revenue = Revenue(message.group_by)
        entries = self._earned if message.basis == "accrual" else self._paid
        async for entry in entries(message.start_date, message.end_date):
            revenue.add(entry)
        organization = await self.books.organization(self.organization_id)
        work.reply(
            RevenueReport(
                start_date=message.start_date,
                end_date=message.end_date,
                basis=message.basis,
                group_by=message.group_by,
                time_zone=organization.time_zone,
                revenue=tuple(
                    RevenueInCurrency(
                        currency=currency,
                        total=as_money(total, currency),
                        periods=tuple(
                            RevenuePeriod(period=period, amount=as_money(amount, currency))
                            for period, amount in revenue.of(currency)
                        ),
                    )
                    for currency, total in sorted(revenue.totals.items())
                ),
            ).wire()
        )

    async def receivables(self, message: ReportReceivablesRequested, work: UnitOfWork) -> None:
        as_of = message.as_of or await self._today()
        owed = receivables_by_age(await self.books.invoices_unpaid(), as_of)
        work.reply(
            ReceivablesReport(
                as_of=as_of,
                receivables=tuple(
                    OwedInCurrency(
                        currency=currency,
                        **_as_money({**ages, "total": sum(ages.values(), Decimal(0))}, currency),
                    )
                    for currency, ages in sorted(owed.items())
                ),
            ).wire()
        )

    async def summary(self, message: ReportSummaryRequested, work: UnitOfWork) -> None:
        first, last = message.start_date, message.end_date
        sums: defaultdict[str, dict[str, Decimal]] = defaultdict(
            lambda: dict.fromkeys(_SUMS, Decimal(0))
        )
        async for invoice in self.books.invoices_dated(first, last):
            if invoice.counts:
                of_currency = sums[invoice.currency_code or ""]
                of_currency["invoiced"] += invoice.total
                of_currency["outstanding"] += invoice.balance
                of_currency["written_off"] += invoice.write_off_amount or 0
        async for note in self._credited(first, last):
            sums[note.currency]["credited"] += note.amount
        payments = [payment async for payment in self.books.customer_payments_dated(first, last)]
        for payment in payments:
            sums[payment.currency_code or ""]["collected"] += payment.amount
        async for refund in self._refunded(first, last, payments):
            sums[refund.currency]["refunded"] += refund.amount
        work.reply(
            SummaryReport(
                start_date=first,
                end_date=last,
                summary=tuple(
                    SummaryInCurrency(currency=currency, **_as_money(of_currency, currency))
                    for currency, of_currency in sorted(sums.items())
                ),
            ).wire()
        )

    async def _earned(self, first: date, last: date) -> AsyncIterator[RevenueEntry]:
        """Accrual: invoices neither draft nor void, less write-offs, less credit notes."""
        async for invoice in self.books.invoices_dated(first, last):
            for entry in entries_of_invoice(invoice):
                yield entry
        async for note in self._credited(first, last):
            yield RevenueEntry(note.currency, note.day, -note.amount)

    async def _paid(self, first: date, last: date) -> AsyncIterator[RevenueEntry]:
        """Cash: customer payments by their date, less refunds by theirs."""
        payments = [payment async for payment in self.books.customer_payments_dated(first, last)]
        for payment in payments:
            if payment.date is not None:
                yield RevenueEntry(payment.currency_code or "", payment.date, payment.amount)
        async for refund in self._refunded(first, last, payments):
            yield RevenueEntry(refund.currency, refund.day, -refund.amount)

    async def _credited(self, first: date, last: date) -> AsyncIterator[RevenueEntry]:
        async for note in self.books.credit_notes_dated(first, last):
            if note.counts and note.date is not None:
                yield RevenueEntry(note.currency_code or "", note.date, note.total)

    async def _refunded(
        self, first: date, last: date, payments: Sequence[CustomerPayment]
    ) -> AsyncIterator[RevenueEntry]:
        """Refunds of credit notes (Billing's refunds are such) and of payments.

        Books lists refunds of payments under each payment only. They are read where a payment of
        the range has a refunded amount.
        """
        async for refund in self.books.credit_note_refunds_dated(first, last):
            if refund.date is not None:
                yield RevenueEntry(await self._currency(refund), refund.date, refund.amount)
        for payment in payments:
            if not payment.amount_refunded:
                continue
            for refund in await self.books.customer_payment_refunds(payment.payment_id):
                if refund.date is not None and first <= refund.date <= last:
                    yield RevenueEntry(payment.currency_code or "", refund.date, refund.amount)

    async def _currency(self, refund: BooksRefund) -> str:
        if refund.currency_code or refund.creditnote_id is None:
            return refund.currency_code or ""
        note = await self.books.credit_note(refund.creditnote_id)
        return note.currency_code or ""

    async def _today(self) -> date:
        organization = await self.books.organization(self.organization_id)
        try:
            zone = ZoneInfo(organization.time_zone or "UTC")
        except (ZoneInfoNotFoundError, ValueError):
            zone = ZoneInfo("UTC")
        return datetime.now(zone).date()


def _as_money(sums: Mapping[str, Decimal], currency: str) -> dict[str, Decimal]:
    return {name: as_money(amount, currency) for name, amount in sums.items()}
