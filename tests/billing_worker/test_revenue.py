"""Reports over payments and refunds, from rows as real organizations list them."""

from datetime import date, timedelta
from typing import Any

import pytest

from shared.contracts.commands import (
    ReportReceivablesRequested,
    ReportRevenueRequested,
    ReportSummaryRequested,
)
from tests.billing_worker.conftest import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="session")

FIRST, LAST = date(2026, 3, 1), date(2026, 3, 31)
BEFORE = FIRST - timedelta(days=20)


def contact(contact_id: str, currency: str) -> dict[str, Any]:
    return {
        "contact_id": contact_id,
        "contact_name": f"Customer {contact_id}",
        "contact_type": "customer",
        "currency_code": currency,
        "email": f"{contact_id}@example.com",
        "created_time": "2026-01-01T00:00:00-0800",
    }


def payment(number: int, customer: str, amount: float, day: date, **more: Any) -> dict[str, Any]:
    """A payment as Books holds it. Its row in a list has no currency."""
    return {
        "payment_id": f"46000000000007{number:05}",
        "customer_id": customer,
        "date": str(day),
        "amount": amount,
        "bcy_amount": amount,
        "amount_refunded": 0,
        "currency_code": "USD",
        "created_time": f"{day}T10:00:00-0800",
        "last_modified_time": f"{day}T10:00:00-0800",
        **more,
    }


def refund(number: int, amount: float, day: date) -> dict[str, Any]:
    return {
        "payment_refund_id": f"46000000000008{number:05}",
        "payment_id": f"46000000000007{number:05}",
        "date": str(day),
        "amount_bcy": amount,
        "amount_fcy": amount,
    }


async def cash(upstream: Upstream) -> dict[str, str]:
    answer = await upstream.answer_to(
        ReportRevenueRequested(start_date=FIRST, end_date=LAST, basis="cash")
    )
    assert answer["ok"], answer
    return {row["currency"]: row["total"] for row in answer["result"]["revenue"]}


async def test_a_refund_counts_by_its_own_date_though_its_payment_is_older(
    upstream: Upstream,
) -> None:
    refunded_at = f"{FIRST + timedelta(days=4)}T10:00:00-0800"
    await upstream.sandbox.load(
        {
            "books": {
                "contacts": [contact("1", "USD")],
                "customerpayments": [
                    payment(
                        1, "1", 100, BEFORE, amount_refunded=40, last_modified_time=refunded_at
                    ),
                    payment(2, "1", 10, FIRST),
                    payment(3, "1", 7, LAST + timedelta(days=1)),
                ],
                "payment_refunds": [refund(1, 40, FIRST + timedelta(days=4))],
            }
        }
    )

    assert await cash(upstream) == {"USD": "-30.00"}
    answer = await upstream.answer_to(ReportSummaryRequested(start_date=FIRST, end_date=LAST))
    (row,) = answer["result"]["summary"]
    assert (row["collected"], row["refunded"]) == ("10.00", "40.00")


async def test_a_refund_outside_the_range_changes_nothing(upstream: Upstream) -> None:
    await upstream.sandbox.load(
        {
            "books": {
                "contacts": [contact("1", "USD")],
                "customerpayments": [payment(1, "1", 100, FIRST, amount_refunded=40)],
                "payment_refunds": [refund(1, 40, LAST + timedelta(days=1))],
            }
        }
    )

    assert await cash(upstream) == {"USD": "100.00"}


@pytest.mark.parametrize("customers", [2, 30])
async def test_payments_count_in_the_currency_of_their_customer(
    upstream: Upstream, customers: int
) -> None:
    currencies = {str(n): "EUR" if n % 2 else "JPY" for n in range(customers)}
    await upstream.sandbox.load(
        {
            "books": {
                "currencies": [
                    {"currency_id": f"46000000000009000{n}", "currency_code": code}
                    for n, code in enumerate(("EUR", "JPY"))
                ],
                "contacts": [contact(name, code) for name, code in currencies.items()],
                "customerpayments": [
                    payment(n, name, 10, FIRST) for n, name in enumerate(currencies)
                ],
            }
        }
    )

    reads_before = await upstream.sandbox.requests(product="books", operation="get_contact")

    totals = await cash(upstream)

    assert totals == {"EUR": f"{customers * 5}.00", "JPY": str(customers * 5)}
    reads = await upstream.sandbox.requests(product="books", operation="get_contact")
    assert len(reads) - len(reads_before) <= 3


async def test_balances_of_a_day_in_the_past_are_refused(upstream: Upstream) -> None:
    answer = await upstream.answer_to(ReportReceivablesRequested(as_of=date(2026, 1, 1)))

    assert (answer["ok"], answer["code"]) == (False, "invalid_message")


async def test_a_report_without_reply_to_reads_nothing(upstream: Upstream) -> None:
    since = len(await upstream.sandbox.requests(product="books"))

    await upstream.send(ReportRevenueRequested(start_date=FIRST, end_date=LAST, basis="cash"))

    failed = await upstream.event("command.failed.v1")
    assert failed["code"] == "reply_to_missing"
    assert len(await upstream.sandbox.requests(product="books")) == since


def invoice(number: int, total: float, day: date, **more: Any) -> dict[str, Any]:
    return {
        "invoice_id": f"51800000000001{number:05}",
        "invoice_number": f"X-{number}",
        "customer_id": "1",
        "status": "sent",
        "date": str(day),
        "due_date": str(day),
        "currency_code": "USD",
        "total": total,
        "balance": total,
        "write_off_amount": 0,
        "created_time": f"{day}T00:00:00-0800",
        **more,
    }


def credit_note(number: int, total: float, day: date, **more: Any) -> dict[str, Any]:
    return {
        "creditnote_id": f"51800000000002{number:05}",
        "creditnote_number": f"CN-{number}",
        "status": "open",
        "date": str(day),
        "total": total,
        "currency_code": "USD",
        "created_time": f"{day}T00:00:00-0800",
        **more,
    }


def credit_note_refund(number: int, amount: float, day: date) -> dict[str, Any]:
    return {
        "creditnote_refund_id": f"51800000000003{number:05}",
        "creditnote_id": f"51800000000002{number:05}",
        "date": str(day),
        "amount_bcy": amount,
        "amount_fcy": amount,
    }


def two_currencies(**records: list[dict[str, Any]]) -> dict[str, Any]:
    """An organization whose rows without a currency may be of either."""
    currencies = [
        {"currency_id": f"46000000000009000{n}", "currency_code": code}
        for n, code in enumerate(("EUR", "JPY"))
    ]
    return {"books": {"currencies": currencies, **records}}


async def test_a_refund_of_a_credit_note_counts_in_the_notes_currency(upstream: Upstream) -> None:
    await upstream.sandbox.load(
        two_currencies(
            creditnotes=[credit_note(1, 20, BEFORE, currency_code="EUR")],
            creditnote_refunds=[credit_note_refund(1, 5, FIRST)],
        )
    )

    assert await cash(upstream) == {"EUR": "-5.00"}


async def test_a_payment_counts_in_its_own_currency_where_its_customer_has_none(
    upstream: Upstream,
) -> None:
    await upstream.sandbox.load(
        two_currencies(
            contacts=[contact("1", "")],
            customerpayments=[payment(1, "1", 10, FIRST, currency_code="JPY")],
        )
    )

    assert await cash(upstream) == {"JPY": "10"}


SMALL_ORGANIZATION = {
    "contacts": [contact("1", "USD")],
    "invoices": [
        invoice(1, 100.10, FIRST, status="paid", balance=0),
        invoice(2, 50.25, LAST, balance=20.25),
        invoice(3, 30, FIRST, status="paid", balance=0, write_off_amount=12.5),
        invoice(4, 999, FIRST, status="void", balance=0),
        invoice(5, 999, FIRST, status="draft"),
        invoice(6, 999, FIRST - timedelta(days=1)),
        invoice(7, 999, LAST + timedelta(days=1)),
        invoice(8, 40, FIRST, currency_code="EUR"),
    ],
    "creditnotes": [
        credit_note(1, 15.05, FIRST, status="closed"),
        credit_note(2, 999, FIRST, status="void"),
        credit_note(3, 999, LAST + timedelta(days=1)),
        credit_note(4, 5, BEFORE, status="closed"),
    ],
    "creditnote_refunds": [
        credit_note_refund(1, 10.05, LAST),
        credit_note_refund(4, 5, FIRST),
        credit_note_refund(3, 7, LAST + timedelta(days=2)),
    ],
    "customerpayments": [
        payment(1, "1", 100.10, FIRST),
        payment(2, "1", 30, LAST, amount_refunded=1.25),
        payment(3, "1", 999, LAST + timedelta(days=1)),
    ],
    "payment_refunds": [refund(2, 1.25, LAST)],
}


async def test_the_figures_of_a_small_organization_are_those_worked_out_by_hand(
    upstream: Upstream,
) -> None:
    await upstream.sandbox.load({"books": SMALL_ORGANIZATION})

    accrual = await upstream.answer_to(
        ReportRevenueRequested(start_date=FIRST, end_date=LAST, basis="accrual", group_by="day")
    )
    summary = await upstream.answer_to(ReportSummaryRequested(start_date=FIRST, end_date=LAST))

    # 100.10 + 50.25 + 30.00 invoiced, less 12.50 written off, less 15.05 credited.
    rows = {row["currency"]: row for row in accrual["result"]["revenue"]}
    assert {currency: row["total"] for currency, row in rows.items()} == {
        "EUR": "40.00",
        "USD": "152.80",
    }
    assert rows["USD"]["periods"] == [
        {"period": str(FIRST), "amount": "102.55"},
        {"period": str(LAST), "amount": "50.25"},
    ]
    # 130.10 paid, less 10.05 and 5.00 of credit notes and 1.25 of a payment refunded.
    assert (await cash(upstream))["USD"] == "113.80"
    sums = {row["currency"]: row for row in summary["result"]["summary"]}["USD"]
    assert sums == {
        "currency": "USD",
        "invoiced": "180.35",
        "collected": "130.10",
        "credited": "15.05",
        "refunded": "16.30",
        "written_off": "12.50",
        "outstanding": "20.25",
    }
