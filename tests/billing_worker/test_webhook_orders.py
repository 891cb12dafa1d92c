"""Webhooks in any order, duplicated and close together, lead to one state and one notice each."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any, Final

import aiohttp
import pytest

from tests.billing_worker.conftest import Upstream
from tests.billing_worker.scenarios import subscribe

pytestmark = pytest.mark.asyncio(loop_scope="session")

EVENTS: Final = (
    "subscription_created",
    "subscription_renewed",
    "subscription_cancelled",
    "payment_thankyou",
    "payment_declined",
)
ORDERS: Final = list(permutations(EVENTS))
SOME: Final = random.Random(24).sample(ORDERS, 24)  # noqa: S311 - the same in each run


async def live_subscriptions(upstream: Upstream, count: int) -> dict[str, dict[str, Any]]:
    """A live subscription of one user for each order, by user. Zoho's webhooks of it are gone."""
    await upstream.sandbox.set_targets(billing=[])
    for number in range(count):
        email = f"user{number}@example.com"
        await upstream.send(
            # Of the free plan, which makes no invoices.
            subscribe(
                user_id=f"u{number}", subscription_id=f"s{number}", email=email, plan_code="free"
            )
        )
    for number in range(count):
        await upstream.event("subscription.changed.v1", subscription_id=f"s{number}")
    rows = await upstream.records("billing", "subscriptions")
    return {f"u{row['reference_id'][1:]}": row for row in rows}


async def settled_as(metrics_port: int, settlement: str) -> float:
    """How many messages were settled so far in this way."""
    url = f"http://127.0.0.1:{metrics_port}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as page:
        lines = (await page.text()).splitlines()
    wanted = f'settlement="{settlement}"'
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in lines
        if line.startswith("messages_settled_total{") and wanted in line
    )


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


@pytest.mark.parametrize(
    "orders",
    [pytest.param(SOME, id="24"), pytest.param(ORDERS, id="all", marks=pytest.mark.chaos)],
)
async def test_any_order_of_webhooks_leads_to_one_state_and_one_notice_each(
    upstream: Upstream, metrics_port: int, orders: Sequence[tuple[str, ...]]
) -> None:
    tried_again = await settled_as(metrics_port, "retry")
    rows = await live_subscriptions(upstream, len(orders))
    updated = datetime.strptime(next(iter(rows.values()))["updated_time"], "%Y-%m-%dT%H:%M:%S%z")
    later = (updated + timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%S%z")
    ended, paid, declined = [], [], []
    for number, row in enumerate(rows.values()):
        ended.append({**row, "status": "cancelled", "updated_time": later})
        paid.append(payment(number, 1, row, "success"))
        declined.append(payment(number, 2, row, "failure"))
    await upstream.sandbox.load({"billing": {"subscriptions": ended, "payments": paid + declined}})

    # Not through the sandbox and the gateway, which other tests do, and all within a second. They
    # came a moment ago, so that none waits for the rest of its burst.
    moment = datetime.now(UTC) - timedelta(seconds=2)
    for number, row in enumerate(rows.values()):
        for event in doubled(orders[number], at_once=number % 2 == 1):
            data = data_of(event, row, paid[number], declined[number])
            payload = {"event_type": event, "event_time": moment.isoformat(), "data": data}
            await upstream.take_webhook("billing", payload, received_at=moment)
    await upstream.webhooks_handled()
    for user_id in rows:
        await upstream.event("subscription.changed.v1", user_id=user_id, status="cancelled")
        await upstream.event("payment.succeeded.v1", user_id=user_id)
        await upstream.event(
            "notification.requested.v1", user_id=user_id, template="payment_failed"
        )

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
    # Duplicates of one record are done one after another, so that none is in another's way.
    assert await settled_as(metrics_port, "retry") == tried_again


def doubled(order: Sequence[str], *, at_once: bool) -> list[str]:
    """All events in this order. Duplicates come at once, or when all have come once."""
    return [e for event in order for e in (event, event)] if at_once else [*order, *order]


def data_of(
    event: str, row: dict[str, Any], paid: dict[str, Any], declined: dict[str, Any]
) -> dict[str, Any]:
    """The data of an event, which only names what it is about."""
    if event.startswith("subscription"):
        names = ("subscription_id", "customer_id")
        return {"subscription": {name: row[name] for name in names}}
    return {"payment": paid if event == "payment_thankyou" else declined}
