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
    answer = await upstream.request(
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
    answer = await upstream.request(ReportSummaryRequested(start_date=FIRST, end_date=LAST))
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
    answer = await upstream.request(ReportReceivablesRequested(as_of=date(2026, 1, 1)))

    assert (answer["ok"], answer["code"]) == (False, "invalid_message")


async def test_a_report_without_reply_to_reads_nothing(upstream: Upstream) -> None:
    since = len(await upstream.sandbox.requests(product="books"))

    await upstream.send(ReportRevenueRequested(start_date=FIRST, end_date=LAST, basis="cash"))

    failed = await upstream.event("command.failed.v1")
    assert failed["code"] == "reply_to_missing"
    assert len(await upstream.sandbox.requests(product="books")) == since
