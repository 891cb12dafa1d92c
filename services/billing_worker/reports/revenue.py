"""Sum money per currency. Nothing is converted, and nothing is ever a float."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Final, Literal

from shared.zoho.products.books.models import Invoice

GroupBy = Literal["none", "day", "month"]

_ZERO: Final = Decimal(0)
_BUCKETS: Final = (
    ("not_due", 0),
    ("days_1_30", 30),
    ("days_31_60", 60),
    ("days_61_90", 90),
)


@dataclass(frozen=True, slots=True)
class RevenueEntry:
    """An amount on a day. Negative when it reduces the revenue."""

    currency: str
    day: date
    amount: Decimal


def period_of(day: date, group_by: GroupBy) -> str | None:
    """`2026-01-31`, `2026-01`, or None when the range is not divided."""
    if group_by == "none":
        return None
    return day.isoformat() if group_by == "day" else day.isoformat()[:7]


@dataclass
class Revenue:
    """Totals by currency, and by period within one."""

    group_by: GroupBy
    totals: defaultdict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    periods: defaultdict[tuple[str, str], Decimal] = field(
        default_factory=lambda: defaultdict(Decimal)
    )

    def add(self, entry: RevenueEntry) -> None:
        self.totals[entry.currency] += entry.amount
        period = period_of(entry.day, self.group_by)
        if period is not None:
            self.periods[entry.currency, period] += entry.amount

    def of(self, currency: str) -> list[tuple[str, Decimal]]:
        """The periods of a currency in which something was booked, in order."""
        return sorted((p, amount) for (c, p), amount in self.periods.items() if c == currency)


def entries_of_invoice(invoice: Invoice) -> Iterable[RevenueEntry]:
    """An invoice as earned: its total with tax, less what was written off of it."""
    if not invoice.counts or invoice.date is None:
        return
    currency = invoice.currency_code or ""
    yield RevenueEntry(currency, invoice.date, invoice.total)
    if invoice.write_off_amount:
        yield RevenueEntry(currency, invoice.date, -invoice.write_off_amount)


def receivables_by_age(invoices: Sequence[Invoice], as_of: date) -> dict[str, dict[str, Decimal]]:
    """Open balances by currency and by how many days they are overdue on `as_of`."""
    owed: dict[str, dict[str, Decimal]] = {}
    for invoice in invoices:
        if not invoice.counts or invoice.balance <= 0:
            continue
        if invoice.date is not None and invoice.date > as_of:
            continue
        names = [*(name for name, _ in _BUCKETS), "over_90_days"]
        of_currency = owed.setdefault(invoice.currency_code or "", dict.fromkeys(names, _ZERO))
        of_currency[_bucket(invoice.due_date or invoice.date, as_of)] += invoice.balance
    return owed


def _bucket(due: date | None, as_of: date) -> str:
    late = (as_of - due).days if due is not None else 0
    return next((name for name, last in _BUCKETS if late <= last), "over_90_days")
