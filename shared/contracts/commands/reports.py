"""Define the commands that ask for a report over all customers, answered to `reply_to`."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import model_validator

from shared.contracts.commands.command import Command, References
from shared.contracts.fields import Day

_LONGEST_DAYS = 1_827  # five years, because every page is read and calls are scarce


class _DateRangeCommand(Command):
    """Both dates are included, in the organization's time zone."""

    start_date: Day
    end_date: Day

    @model_validator(mode="after")
    def _runs_forward(self) -> Self:
        days = (self.end_date - self.start_date).days
        if days < 0:
            raise ValueError("end_date must not be before start_date")
        if days >= _LONGEST_DAYS:
            raise ValueError(f"the range must not be longer than {_LONGEST_DAYS} days")
        return self

    def references(self) -> References:
        return References()


class ReportRevenueRequested(_DateRangeCommand):
    """Report revenue as earned (accrual) or as paid (cash). `report.revenue_requested.v1`."""

    routing_key: ClassVar[str] = "report.revenue_requested.v1"

    basis: Literal["accrual", "cash"]
    group_by: Literal["none", "day", "month"] = "none"


class ReportReceivablesRequested(Command):
    """Report what is owed, by age, today or `as_of` a day. `report.receivables_requested.v1`."""

    routing_key: ClassVar[str] = "report.receivables_requested.v1"

    as_of: Day | None = None

    def references(self) -> References:
        return References()


class ReportSummaryRequested(_DateRangeCommand):
    """Report sums invoiced, collected, refunded, owed and so on. `report.summary_requested.v1`."""

    routing_key: ClassVar[str] = "report.summary_requested.v1"
