"""Webhooks in any order, duplicated and close together, lead to one state and one notice each."""

import random
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.billing_worker.conftest import Upstream
from tests.billing_worker.scenarios import subscribe

pytestmark = pytest.mark.asyncio(loop_scope="session")

USERS = 12
EVENTS = (
    "subscription_created",
    "subscription_renewed",
    "subscription_cancelled",
    "payment_thankyou",
    "payment_declined",
)


async def live_subscriptions(upstream: Upstream) -> dict[str, dict[str, Any]]:
    """A subscription of each user, live at Zoho, by user."""
    for number in range(USERS):
        email = f"user{number}@example.com"
        await upstream.send(
            subscribe(user_id=f"u{number}", subscription_id=f"s{number}", email=email)
        )
    for number in range(USERS):
        await upstream.event("subscription.changed.v1", subscription_id=f"s{number}")
        await upstream.event("invoice.issued.v1", user_id=f"u{number}")
    rows = await upstream.records("billing", "subscriptions")
    return {f"u{row['reference_id'][1:]}": row for row in rows}


def payment(number: int, kind: int, row: dict[str, Any], status: str) -> dict[str, Any]:
    return {
        "payment_id": f"4600000000055{kind}{number:04}",
        "payment_mode": "autotransaction",
        "status": status,
        "customer_id": row["customer_id"],
        "amount": 19,
        "currency_code": "USD",
        "invoices": [],
        "date": "2026-01-31",
        "created_time": row["updated_time"],
    }


async def test_any_order_of_webhooks_leads_to_one_state_and_one_notice_each(
    upstream: Upstream,
) -> None:
    rows = await live_subscriptions(upstream)
    updated = datetime.strptime(next(iter(rows.values()))["updated_time"], "%Y-%m-%dT%H:%M:%S%z")
    later = (updated + timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%S%z")
    ended, paid, declined = [], [], []
    for number, row in enumerate(rows.values()):
        ended.append({**row, "status": "cancelled", "updated_time": later})
        paid.append(payment(number, 1, row, "success"))
        declined.append(payment(number, 2, row, "failure"))
    await upstream.sandbox.load({"billing": {"subscriptions": ended, "payments": paid + declined}})

    orders = random.Random(7)  # noqa: S311 - the same orders in every run
    for number, row in enumerate(rows.values()):
        posts = orders.sample(EVENTS, len(EVENTS)) * 2
        for event in posts:
            await upstream.sandbox.billing_event(
                event, data_of(event, row, paid[number], declined[number])
            )
    for user_id in rows:
        await upstream.event("subscription.changed.v1", user_id=user_id, status="cancelled")
        await upstream.event("payment.succeeded.v1", user_id=user_id)
        await upstream.event("payment.failed.v1", user_id=user_id)
    await upstream.webhooks_handled()

    for user_id in rows:
        states = [
            event["status"]
            for event in upstream.events_named("subscription.changed.v1", user_id=user_id)
        ]
        notices = upstream.events_named("notification.requested.v1", user_id=user_id)
        assert states == ["live", "cancelled"], user_id
        assert sorted(notice["template"] for notice in notices) == [
            "payment_failed",
            "subscription_cancelled",
        ], user_id
        assert len(upstream.events_named("payment.succeeded.v1", user_id=user_id)) == 1
        assert len(upstream.events_named("payment.failed.v1", user_id=user_id)) == 1


def data_of(
    event: str, row: dict[str, Any], paid: dict[str, Any], declined: dict[str, Any]
) -> dict[str, Any]:
    """The data of an event, which only names what it is about."""
    if event.startswith("subscription"):
        names = ("subscription_id", "customer_id")
        return {"subscription": {name: row[name] for name in names}}
    return {"payment": paid if event == "payment_thankyou" else declined}
