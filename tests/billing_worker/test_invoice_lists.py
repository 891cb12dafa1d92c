"""The list of a user's invoices: what a status means, and under which id an invoice is listed."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.contracts.commands import InvoiceListRequested
from tests.billing_worker.conftest import Upstream
from tests.billing_worker.scenarios import ADA, a_subscription

pytestmark = pytest.mark.asyncio(loop_scope="session")

TODAY = datetime.now(UTC).date()
LONG_AGO, LATER = TODAY - timedelta(days=40), TODAY + timedelta(days=10)


def invoice(name: str, contact_id: str, **more: Any) -> dict[str, Any]:
    return {
        "invoice_id": f"518{abs(hash(name)) % 10**15:015}",
        "invoice_number": name,
        "customer_id": contact_id,
        "status": "sent",
        "date": str(LONG_AGO),
        "due_date": str(LATER),
        "currency_code": "USD",
        "total": 10,
        "balance": 10,
        "created_time": f"{LONG_AGO}T00:00:00-0800",
        **more,
    }


@pytest.mark.parametrize(
    ("status", "numbers"),
    [
        ("unpaid", {"sent", "overdue", "part", "late part"}),
        ("overdue", {"overdue", "late part"}),
        ("partially_paid", {"part", "late part"}),
        ("sent", {"sent"}),
        ("paid", {"paid"}),
        ("draft", {"draft"}),
        ("void", {"void"}),
        (None, {"sent", "overdue", "part", "late part", "paid", "draft", "void"}),
    ],
)
async def test_a_status_means_what_people_mean(
    upstream: Upstream, status: Any, numbers: set[str]
) -> None:
    await upstream.send(ADA)
    await upstream.event("customer.created.v1", user_id="u1")
    contact = await upstream.zoho("books", "contacts", "mirrored", lambda _: True)
    mine = contact["contact_id"]
    await upstream.sandbox.load(
        {
            "books": {
                "invoices": [
                    invoice("sent", mine),
                    # Books' own word may lag behind the day.
                    invoice("overdue", mine, due_date=str(LONG_AGO)),
                    invoice("part", mine, status="partially_paid", balance=4),
                    invoice("late part", mine, status="overdue", balance=4, due_date=str(LONG_AGO)),
                    invoice("paid", mine, status="paid", balance=0),
                    invoice("draft", mine, status="draft"),
                    invoice("void", mine, status="void", balance=0),
                ]
            }
        }
    )

    answer = await upstream.answer_to(InvoiceListRequested(user_id="u1", status=status))

    assert {row["number"] for row in answer["result"]["invoices"]} == numbers


async def test_an_invoice_listed_before_its_announcement_is_announced_under_the_listed_id(
    upstream: Upstream,
) -> None:
    await upstream.sandbox.fault("billing", "status:500", operation="retrieve_invoice")
    await a_subscription(upstream)
    await upstream.zoho("books", "invoices", "mirrored", lambda _: True)

    answer = await upstream.answer_to(InvoiceListRequested(user_id="u1"))
    await upstream.sandbox.clear_faults()

    (listed,) = answer["result"]["invoices"]
    issued = await upstream.event("invoice.issued.v1", user_id="u1")
    assert issued["invoice_id"] == listed["invoice_id"]
    assert issued["subscription_id"] == "s1"
