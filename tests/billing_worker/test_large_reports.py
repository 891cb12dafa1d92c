"""Reports over many pages: right to the cent, cheap, and continued where they stopped."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import aiohttp
import asyncpg
import pytest
import pytest_asyncio

from services.zoho_sandbox.server.clock import Clock
from services.zoho_sandbox.server.world import World
from shared.contracts.commands import ReportReceivablesRequested, ReportRevenueRequested
from tests.billing_worker.conftest import Upstream, until
from tests.billing_worker.large_organization import FIRST, LAST, LargeOrganization

pytestmark = pytest.mark.asyncio(loop_scope="session")

ACCRUAL = ReportRevenueRequested(start_date=FIRST, end_date=LAST, basis="accrual", group_by="month")
CASH = ReportRevenueRequested(start_date=FIRST, end_date=LAST, basis="cash")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def large() -> LargeOrganization:
    return LargeOrganization()


@pytest_asyncio.fixture(params=["America/Los_Angeles", "Asia/Tokyo"], loop_scope="session")
async def time_zone(request: pytest.FixtureRequest, world: World) -> AsyncIterator[str]:
    """The time zone of the organization."""
    usual = world.clock
    world.clock = Clock(str(request.param))
    yield str(request.param)
    world.clock = usual


def in_cents(totals: Counter[str]) -> dict[str, int]:
    return dict(totals)


def cents_in(answer: dict[str, Any]) -> dict[str, int]:
    assert answer["ok"], answer
    return {
        row["currency"]: int(Decimal(row["total"]) * 100) for row in answer["result"]["revenue"]
    }


async def test_a_large_organizations_figures_are_right_to_the_cent(
    upstream: Upstream, large: LargeOrganization, time_zone: str
) -> None:
    upstream.patience_s = 120.0
    await upstream.sandbox.load({"books": large.records})
    asked = len(await upstream.sandbox.requests(product="books"))

    accrual = await upstream.answer_to(ACCRUAL)
    calls = len(await upstream.sandbox.requests(product="books")) - asked
    paid = await upstream.answer_to(CASH)

    assert cents_in(accrual) == in_cents(large.earned)
    assert accrual["result"]["time_zone"] == time_zone
    february = {
        row["currency"]: int(Decimal(period["amount"]) * 100)
        for row in accrual["result"]["revenue"]
        for period in row["periods"]
        if period["period"] == "2025-02"
    }
    assert february == in_cents(large.earned_in_february)
    assert calls <= 30
    assert cents_in(paid) == in_cents(large.paid)


async def test_a_report_goes_on_at_the_page_that_failed(
    upstream: Upstream, large: LargeOrganization
) -> None:
    upstream.patience_s = 120.0
    await upstream.sandbox.load({"books": large.records})
    asked = await upstream.sandbox.requests(product="books")
    before = asked[-1]["id"] if asked else 0
    await upstream.sandbox.fault("books", "status:500", operation="list_invoices", skip=16)
    began = datetime.now(UTC)

    answering = asyncio.create_task(upstream.answer_to(ACCRUAL))
    await upstream.sandbox.wait_for_request("books", "list_invoices", since=before, count=19)
    failed_at = datetime.now(UTC)
    await upstream.sandbox.clear_faults()
    answer = await hurried(upstream, answering)

    reads = await upstream.sandbox.requests(product="books", operation="list_invoices")
    pages = Counter(int(r["query"]["page"]) for r in reads if r["id"] > before)
    assert cents_in(answer) == in_cents(large.earned)
    assert {page for page, times in pages.items() if times > 1} == {17}
    assert began <= datetime.fromisoformat(answer["result"]["read_at"]) < failed_at
    assert await saved_pages(upstream) == 0


async def test_a_report_reads_on_from_a_page_that_was_pruned(
    upstream: Upstream, large: LargeOrganization
) -> None:
    upstream.patience_s = 120.0
    await upstream.sandbox.load({"books": large.records})
    asked = await upstream.sandbox.requests(product="books")
    before = asked[-1]["id"] if asked else 0
    await upstream.sandbox.fault(
        "books", "status:500", operation="list_invoices", skip=16, times=99
    )

    answering = asyncio.create_task(upstream.answer_to(ACCRUAL))
    await upstream.sandbox.wait_for_request("books", "list_invoices", since=before, count=19)
    connection = await asyncpg.connect(upstream.database_url)
    postponed = "SELECT count(*) FROM billing.lines WHERE state = 'later'"
    await until(lambda: connection.fetchval(postponed), 1)
    await connection.execute("DELETE FROM billing.report_pages WHERE page IN (1, 2)")
    await connection.close()
    await upstream.sandbox.clear_faults()
    answer = await hurried(upstream, answering)

    assert cents_in(answer) == in_cents(large.earned)


async def hurried(upstream: Upstream, answering: asyncio.Task[dict[str, Any]]) -> dict[str, Any]:
    """The answer, without the waits between the attempts at it."""
    connection = await asyncpg.connect(upstream.database_url)
    async with asyncio.timeout(60):
        while not answering.done():
            await connection.execute(
                "UPDATE billing.inbox SET due_at = now() WHERE due_at > now();"
                "UPDATE billing.lines SET due_at = now() WHERE state = 'later'"
            )
            await asyncio.sleep(0.1)
    await connection.close()
    return await answering


async def saved_pages(upstream: Upstream) -> int:
    connection = await asyncpg.connect(upstream.database_url)
    count: int = await connection.fetchval("SELECT count(*) FROM billing.report_pages")
    await connection.close()
    return count


def an_invoice(number: int, total: float, **more: Any) -> dict[str, Any]:
    return {
        "invoice_id": f"51800000000006{number:05}",
        "invoice_number": f"Z-{number}",
        "customer_id": "1",
        "status": "sent",
        "date": "2025-02-03",
        "due_date": "2025-02-20",
        "currency_code": "USD",
        "total": total,
        "balance": total,
        "write_off_amount": 0,
        "created_time": "2025-02-03T00:00:00-0800",
        **more,
    }


@pytest.mark.parametrize(("written_off", "differs"), [(0, 0), (12.5, 1)])
async def test_zohos_own_figure_is_reported_and_a_difference_counted(
    upstream: Upstream, metrics_port: int, written_off: float, differs: int
) -> None:
    records = [an_invoice(1, 40), an_invoice(2, 60.5, write_off_amount=written_off)]
    await upstream.sandbox.load({"books": {"invoices": records}})
    counted = await differences(metrics_port)

    answer = await upstream.answer_to(ACCRUAL)

    assert answer["result"]["zoho_says"] == "100.50"
    assert cents_in(answer) == {"USD": 10_050 - round(written_off * 100)}
    assert await differences(metrics_port) - counted == differs


@pytest.mark.parametrize(
    ("status", "code"), [(401, 57), (404, 5), (500, 1000)], ids=["no right", "unknown", "down"]
)
async def test_an_organization_without_zohos_figure_gets_its_report_all_the_same(
    upstream: Upstream, status: int, code: int
) -> None:
    await upstream.sandbox.load({"books": {"invoices": [an_invoice(1, 40)]}})
    mints = len(await upstream.sandbox.requests(product="accounts"))
    answer = {"status": status, "body": {"code": code, "message": "no"}}
    await upstream.sandbox.post(
        "faults", product="books", operation="profit_and_loss", kind="answer", **answer
    )

    report = await upstream.answer_to(ACCRUAL)
    owed = await upstream.answer_to(ReportReceivablesRequested())

    assert cents_in(report) == {"USD": 4000}
    assert "zoho_says" not in report["result"]
    assert owed["ok"], "nothing else of Books may be held up by it"
    assert owed["result"]["receivables"][0]["total"] == "40.00"
    assert len(await upstream.sandbox.requests(product="accounts")) == mints


async def differences(metrics_port: int) -> float:
    url = f"http://127.0.0.1:{metrics_port}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as page:
        lines = (await page.text()).splitlines()
    name = "report_differences_total{"
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))
