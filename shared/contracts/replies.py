"""Define the replies to commands with a `reply_to`. `result` is one of the models below."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Base64Bytes, Field

from shared.contracts.fields import Currency, Day, Id, Instant
from shared.contracts.outgoing import OutgoingModel, PeoplesText

MAX_REPLY_BYTES = 8 * 1024 * 1024

Money = Decimal  # may be negative in reports, and goes out as a string


class ReplyResult(OutgoingModel):
    """The result of a command, sent by `work.reply(result.wire())`."""

    def wire(self) -> dict[str, Any]:
        """Return it as JSON has it: amounts as strings, absent fields left out."""
        return self.model_dump(mode="json", exclude_none=True)


class Done(OutgoingModel):
    """The command was done."""

    ok: Literal[True] = True
    result: dict[str, Any]


class Refused(OutgoingModel):
    """The command was given up. `code` is listed in docs/errors.md."""

    ok: Literal[False] = False
    code: str
    reason: PeoplesText


class InvoiceSummary(ReplyResult):
    """One invoice in a list."""

    invoice_id: Id
    number: str
    status: str
    date: Day
    due_date: Day | None = None
    currency: Currency
    total: Money
    balance: Money
    subscription_id: Id | None = None


class InvoiceResultLine(OutgoingModel):
    description: PeoplesText = ""
    quantity: Decimal
    rate: Money
    total: Money


class InvoiceResult(InvoiceSummary):
    """Answers `invoice.requested.v1` with format json."""

    user_id: Id | None = None
    tax_total: Money | None = None
    lines: tuple[InvoiceResultLine, ...] = ()


class InvoicePdf(ReplyResult):
    """Answers `invoice.requested.v1` with format pdf. `content` is base64 on the wire."""

    invoice_id: Id
    number: str
    content_type: Literal["application/pdf"] = "application/pdf"
    size_bytes: Annotated[int, Field(ge=1)]
    content: Base64Bytes


class InvoiceList(ReplyResult):
    """Answers `invoice.list_requested.v1`."""

    user_id: Id
    page: int
    has_more: bool
    invoices: tuple[InvoiceSummary, ...]


class RevenuePeriod(OutgoingModel):
    """`period` is `2026-01-31` or `2026-01`, and absent when the range is not divided."""

    period: str | None = None
    amount: Money


class RevenueInCurrency(OutgoingModel):
    currency: Currency
    total: Money
    periods: tuple[RevenuePeriod, ...] = ()


class Report(ReplyResult):
    """`read_at`: from when the figures are. What changed at Zoho since then may be missing."""

    read_at: Instant


class RevenueReport(Report):
    """Answers `report.revenue_requested.v1`: per currency, nothing converted, tax included.

    `zoho_says`: the operating income of Zoho's own profit-and-loss report, without tax, where the
    organization answers it and the accrual revenue is in one currency.
    """

    start_date: Day
    end_date: Day
    basis: Literal["accrual", "cash"]
    group_by: Literal["none", "day", "month"]
    tax_included: Literal[True] = True
    time_zone: str | None = None
    zoho_says: Money | None = None
    revenue: tuple[RevenueInCurrency, ...]


class OwedInCurrency(OutgoingModel):
    """Open balances by how many days they are overdue."""

    currency: Currency
    total: Money
    not_due: Money
    days_1_30: Money
    days_31_60: Money
    days_61_90: Money
    over_90_days: Money


class ReceivablesReport(Report):
    """Answers `report.receivables_requested.v1`."""

    as_of: Day
    receivables: tuple[OwedInCurrency, ...]


class SummaryInCurrency(OutgoingModel):
    currency: Currency
    invoiced: Money
    collected: Money
    credited: Money
    refunded: Money
    written_off: Money
    outstanding: Money


class SummaryReport(Report):
    """Answers `report.summary_requested.v1`."""

    start_date: Day
    end_date: Day
    summary: tuple[SummaryInCurrency, ...]


RESULTS: dict[str, tuple[type[ReplyResult], ...]] = {
    "invoice.requested.v1": (InvoiceResult, InvoicePdf),
    "invoice.list_requested.v1": (InvoiceList,),
    "report.revenue_requested.v1": (RevenueReport,),
    "report.receivables_requested.v1": (ReceivablesReport,),
    "report.summary_requested.v1": (SummaryReport,),
}
