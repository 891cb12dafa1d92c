"""Answer report commands.

Books has no reports by API, so they are summed from every page of what it lists.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from services.billing_worker.ledger.ledger import Ledger
from services.billing_worker.organization_day import OrganizationDay
from services.billing_worker.reports.books_entries import BooksEntries
from services.billing_worker.reports.revenue import Revenue, receivables_by_age
from services.billing_worker.reports.saved_reads import SavedReads
from services.billing_worker.repositories.report_pages import ReportPages
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
from shared.errors import InvalidMessage
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.observability.metrics import Metrics

_SUMS = ("invoiced", "collected", "credited", "refunded", "written_off", "outstanding")


@dataclass(frozen=True, kw_only=True)
class ReportHandlers:
    ledger: Ledger
    organization_day: OrganizationDay
    pages: ReportPages
    metrics: Metrics

    async def revenue(self, message: ReportRevenueRequested, work: UnitOfWork) -> None:
        reads = SavedReads(self.pages, work)
        read_at = await reads.began_at()
        revenue = Revenue(message.group_by)
        entries = BooksEntries(self.ledger, reads, message.start_date, message.end_date)
        async for entry in entries.earned() if message.basis == "accrual" else entries.paid():
            revenue.add(entry)
        reads.forget()
        work.reply(
            RevenueReport(
                read_at=read_at,
                start_date=message.start_date,
                end_date=message.end_date,
                basis=message.basis,
                group_by=message.group_by,
                time_zone=await self.organization_day.time_zone(),
                zoho_says=await self._zoho_says(message, revenue),
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

    async def _zoho_says(self, message: ReportRevenueRequested, revenue: Revenue) -> Decimal | None:
        """Zoho's own figure of what was earned, where one figure can be compared with ours.

        It has one currency, the organization's, so it is asked for only when all is in one.
        """
        if message.basis != "accrual" or len(revenue.totals) != 1:
            return None
        says = await self.ledger.operating_income(message.start_date, message.end_date)
        ((currency, ours),) = revenue.totals.items()
        if says is None or await self.organization_day.currency() != currency:
            return None
        if as_money(says, currency) != as_money(ours, currency):
            self.metrics.report_differences.labels(org=self.ledger.org).inc()
        return as_money(says, currency)

    async def receivables(self, message: ReportReceivablesRequested, work: UnitOfWork) -> None:
        today = await self.organization_day.today()
        as_of = message.as_of or today
        if as_of < today:
            # Books gives the balances of now. Those of an earlier day it does not give.
            raise InvalidMessage("as_of must not be before today in the organization's time zone")
        reads = SavedReads(self.pages, work)
        read_at = await reads.began_at()
        unpaid = reads.all_of("unpaid invoices", self.ledger.invoices_unpaid())
        owed = receivables_by_age([invoice async for invoice in unpaid], as_of)
        reads.forget()
        work.reply(
            ReceivablesReport(
                read_at=read_at,
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
        reads = SavedReads(self.pages, work)
        read_at = await reads.began_at()
        entries = BooksEntries(self.ledger, reads, first, last)
        async for invoice in entries.invoices():
            if invoice.counts:
                of_currency = sums[invoice.currency_code or ""]
                of_currency["invoiced"] += invoice.total
                of_currency["outstanding"] += invoice.balance
                of_currency["written_off"] += invoice.write_off_amount or 0
        async for note in entries.credited():
            sums[note.currency]["credited"] += note.amount
        async for payment in entries.collected():
            sums[payment.currency]["collected"] += payment.amount
        async for refund in entries.refunded():
            sums[refund.currency]["refunded"] += refund.amount
        reads.forget()
        work.reply(
            SummaryReport(
                read_at=read_at,
                start_date=first,
                end_date=last,
                summary=tuple(
                    SummaryInCurrency(currency=currency, **_as_money(of_currency, currency))
                    for currency, of_currency in sorted(sums.items())
                ),
            ).wire()
        )


def _as_money(sums: Mapping[str, Decimal], currency: str) -> dict[str, Decimal]:
    return {name: as_money(amount, currency) for name, amount in sums.items()}
