"""Serve Books' undocumented profit-and-loss report, which counts neither drafts nor void records.

Without `filter_by=TransactionDate.CustomDate` the dates are ignored and the report is this month's.
No public page documents the report. Public clients read its recursive `account_transactions`.
"""

from __future__ import annotations

from aiohttp import web

from services.zoho_sandbox.finance.dialect import ok
from services.zoho_sandbox.server.routes import ApiCall, Routes
from services.zoho_sandbox.server.tables import Record

_NOT_COUNTED = ("draft", "void")


def add_routes(routes: Routes) -> None:
    routes.add(
        "GET",
        "/reports/profitandloss",
        "profit_and_loss",
        _profit_and_loss,
        scope="ZohoBooks.reports.READ",
    )


async def _profit_and_loss(call: ApiCall) -> web.Response:
    first, last = _range(call)
    sales = _sum(call, "invoices", first, last) - _sum(call, "creditnotes", first, last)
    income = _account("Operating Income", sales, [_account("Sales", sales, [])])
    profit = _account("Net Profit/Loss", sales, [])
    return ok(profit_and_loss=[income, profit])


def _range(call: ApiCall) -> tuple[str, str]:
    if call.query("filter_by").endswith(".CustomDate"):
        return call.query("from_date"), call.query("to_date")
    today = call.world.clock.today()
    return today.replace(day=1).isoformat(), today.isoformat()


def _sum(call: ApiCall, table: str, first: str, last: str) -> float:
    return sum(
        float(row["total"]) * float(row.get("exchange_rate", 1))
        for row in call.world.table("books", table)
        if first <= row["date"] <= last and row["status"] not in _NOT_COUNTED
    )


def _account(name: str, total: float, accounts: list[Record]) -> Record:
    return {"name": name, "total": round(total, 2), "account_transactions": accounts}
