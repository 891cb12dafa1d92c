"""Kill the worker while it reads a report: another one goes on at the same page."""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal

import pytest

from deploy.driving.system_driver import SystemDriver
from deploy.local.stack import Stack
from services.zoho_sandbox.driver import Json

pytestmark = pytest.mark.timeout(300)

WORKER = "billing-worker"
ON_A_PAGE = 200


@pytest.mark.parametrize(
    ("pages", "killed_on"),
    [(4, 3), pytest.param(25, 17, marks=pytest.mark.chaos)],
)
async def test_a_report_whose_worker_is_killed_goes_on_at_its_page(
    stack: Stack, stage: SystemDriver, pages: int, killed_on: int
) -> None:
    # A year of its own, which no other invoice at this Zoho is of.
    year = 2000 + pages
    invoices = [invoice(year, n) for n in range(pages * ON_A_PAGE)]
    await stage.sandbox.load({"books": {"invoices": invoices}})
    await stage.sandbox.fault(
        "books", "hold", operation="list_invoices", skip=killed_on - 1, times=1
    )

    stage.patience_s = 120.0
    wanted = {"start_date": f"{year}-01-01", "end_date": f"{year}-12-31", "basis": "accrual"}
    answering = asyncio.create_task(stage.ask("report.revenue_requested.v1", wanted))
    await stage.sandbox.wait_until_held("books", "list_invoices")
    killed = await asyncio.to_thread(stack.kill, WORKER)
    await stage.sandbox.clear_faults()
    await asyncio.to_thread(stack.wait_ready, WORKER, not_pid=killed)
    answer = await answering

    reads = await stage.sandbox.requests(product="books", operation="list_invoices")
    times = Counter(int(read["query"]["page"]) for read in reads if year_of(read) == year)
    cents = sum(round(one["total"] * 100) for one in invoices)
    assert [row["total"] for row in answer["result"]["revenue"]] == [f"{Decimal(cents) / 100:.2f}"]
    assert times == {page: 2 if page == killed_on else 1 for page in range(1, pages + 1)}


def year_of(read: Json) -> int:
    return int(read["query"].get("date_start", "0")[:4])


def invoice(year: int, n: int) -> Json:
    day = f"{year}-{n % 12 + 1:02}-{n % 28 + 1:02}"
    return {
        "invoice_id": f"48{year}{n:012}",
        "invoice_number": f"R-{year}-{n}",
        "customer_id": "1",
        "status": "sent",
        "date": day,
        "due_date": day,
        "currency_code": "USD",
        "total": (n % 997 + 1) * 7 / 100,
        "balance": 0,
        "write_off_amount": 0,
        "created_time": f"{day}T00:00:{n % 60:02}-0800",
    }
