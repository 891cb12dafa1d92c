"""Invoice and report commands are answered, and no answer leads to Zoho."""

import base64
import io
import re
from datetime import date, timedelta

import pytest
from pypdf import PdfReader

from shared.contracts.commands import (
    InvoiceListRequested,
    InvoiceRequested,
    ReportReceivablesRequested,
    ReportRevenueRequested,
    ReportSummaryRequested,
)
from tests.billing_worker.conftest import Upstream
from tests.billing_worker.scenarios import a_subscription

pytestmark = pytest.mark.asyncio(loop_scope="session")

FIRST = date.today() - timedelta(days=2)  # noqa: DTZ011 - a range around Books' today
LAST = FIRST + timedelta(days=4)


async def an_invoice(upstream: Upstream) -> str:
    await a_subscription(upstream, plan_code="pro-monthly")
    return str((await upstream.event("invoice.issued.v1", user_id="u1"))["invoice_id"])


async def test_an_invoice_is_returned(upstream: Upstream) -> None:
    invoice_id = await an_invoice(upstream)
    (in_books,) = await upstream.records("books", "invoices")

    answer = await upstream.answer_to(InvoiceRequested(invoice_id=invoice_id, format="json"))

    shown = answer["result"]
    assert answer["ok"] is True
    assert shown["invoice_id"] == invoice_id
    assert shown["number"] == in_books["invoice_number"]
    assert shown["total"] == f"{in_books['total']:.2f}"
    (line,) = shown["lines"]
    assert (line["rate"], line["total"]) == (shown["total"], shown["total"])
    assert shown["subscription_id"] == "s1"
    assert [line["description"] for line in shown["lines"]]


async def test_a_pdf_comes_without_zohos_links(upstream: Upstream) -> None:
    invoice_id = await an_invoice(upstream)

    answer = await upstream.answer_to(InvoiceRequested(invoice_id=invoice_id, format="pdf"))

    pdf = base64.b64decode(answer["result"]["content"])
    text = PdfReader(io.BytesIO(pdf)).pages[0].extract_text()
    assert "INVOICE" in text
    assert "zoho" not in text.lower()
    assert answer["result"]["size_bytes"] == len(pdf)


async def test_an_invoice_that_was_never_announced_is_unknown(upstream: Upstream) -> None:
    answer = await upstream.answer_to(InvoiceRequested(invoice_id="inv_none", format="json"))

    assert (answer["ok"], answer["code"]) == (False, "unknown_invoice")


async def test_the_invoices_of_a_user_are_listed(upstream: Upstream) -> None:
    invoice_id = await an_invoice(upstream)

    answer = await upstream.answer_to(InvoiceListRequested(user_id="u1"))

    (listed,) = answer["result"]["invoices"]
    assert listed["invoice_id"] == invoice_id
    assert re.fullmatch(r"[0-9]+\.[0-9]{2}", listed["balance"])
    assert answer["result"]["has_more"] is False


async def test_reports_sum_what_books_lists(upstream: Upstream) -> None:
    await upstream.sandbox.load(
        {
            "books": {
                "invoices": [
                    _invoice("1", "USD", 100.10, FIRST),
                    _invoice("2", "EUR", 50, LAST, balance=50),
                    _invoice("3", "USD", 0.20, LAST),
                    _invoice("4", "USD", 1000, FIRST, status="void"),
                    _invoice("5", "USD", 1000, FIRST, status="draft"),
                    _invoice("6", "USD", 1000, LAST + timedelta(days=1)),
                    _invoice("7", "USD", 10, FIRST, write_off=4),
                ]
                + [_invoice(f"b{n}", "JPY", 1, FIRST) for n in range(250)]
            }
        }
    )

    accrual = await upstream.answer_to(
        ReportRevenueRequested(start_date=FIRST, end_date=LAST, basis="accrual", group_by="day")
    )
    cash = await upstream.answer_to(
        ReportRevenueRequested(start_date=FIRST, end_date=LAST, basis="cash")
    )
    summary = await upstream.answer_to(ReportSummaryRequested(start_date=FIRST, end_date=LAST))
    owed = await upstream.answer_to(ReportReceivablesRequested(as_of=LAST + timedelta(days=45)))

    by_currency = {row["currency"]: row for row in accrual["result"]["revenue"]}
    assert by_currency["USD"]["total"] == "106.30"
    assert by_currency["EUR"]["total"] == "50.00"
    assert by_currency["JPY"]["total"] == "250"  # every page is read
    assert [p["period"] for p in by_currency["USD"]["periods"]] == [str(FIRST), str(LAST)]
    assert accrual["result"]["tax_included"] is True
    assert cash["result"]["revenue"] == []
    (euro,) = [row for row in summary["result"]["summary"] if row["currency"] == "EUR"]
    assert (euro["invoiced"], euro["outstanding"], euro["refunded"]) == ("50.00", "50.00", "0.00")
    (late,) = [row for row in owed["result"]["receivables"] if row["currency"] == "EUR"]
    assert (late["days_31_60"], late["total"]) == ("50.00", "50.00")
    yen = [row["amount"] for row in by_currency["JPY"]["periods"]]
    assert yen == ["250"]


async def test_cash_revenue_counts_payments(upstream: Upstream) -> None:
    await upstream.sandbox.load(
        {
            "books": {
                "customerpayments": [
                    {
                        "payment_id": "4600000000000000777",
                        "date": str(FIRST),
                        "amount": 12.34,
                        "currency_code": "USD",
                        "customer_id": "1",
                    }
                ]
            }
        }
    )

    cash = await upstream.answer_to(
        ReportRevenueRequested(start_date=FIRST, end_date=LAST, basis="cash", group_by="month")
    )

    (revenue,) = cash["result"]["revenue"]
    assert revenue["total"] == "12.34"


def _invoice(
    number: str,
    currency: str,
    total: float,
    day: date,
    *,
    status: str = "sent",
    balance: float = 0,
    write_off: float = 0,
) -> dict[str, object]:
    return {
        "invoice_id": f"46000000000000{number:>05}".replace("b", "9"),
        "invoice_number": f"X-{number}",
        "status": status,
        "date": str(day),
        "due_date": str(day),
        "currency_code": currency,
        "total": total,
        "balance": balance,
        "write_off_amount": write_off,
        "customer_id": "1",
        "customer_name": "Someone",
        "email": "someone@example.com",
        "reference_number": "",
        "created_time": f"{day}T00:00:00-0800",
        "last_modified_time": f"{day}T00:00:00-0800",
        "exchange_rate": 1,
        "custom_fields": [],
        "line_items": [],
    }
