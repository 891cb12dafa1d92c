"""Each event that Zoho sends about subscriptions and invoices: posted, read there, announced."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from services.billing_worker.handlers.books_webhooks import _EVENTS as BOOKS_EVENTS
from services.billing_worker.handlers.webhooks import SUBSCRIPTION_EVENTS
from services.zoho_sandbox.server.world import World
from tests.billing_worker.conftest import Upstream
from tests.billing_worker.scenarios import a_subscription, an_unpaid_invoice, subscribe

pytestmark = pytest.mark.asyncio(loop_scope="session")

Fields = dict[str, Any]

LATER: Final = "2031-02-03"
# By event: what Zoho had before, what it has now (None: nothing any more), and what is announced.
SUBSCRIPTIONS: Final[dict[str, tuple[Fields, Fields | None, str, str]]] = {
    "subscription_activation": ({"status": "trial"}, {"status": "live"}, "activated", "live"),
    "subscription_renewed": ({}, {"current_term_ends_at": LATER}, "renewed", "live"),
    "subscription_upgraded": ({}, {"plan": {"plan_code": "pro-monthly"}}, "changed", "live"),
    "subscription_downgraded": ({}, {"plan": {"plan_code": "basic-monthly"}}, "changed", "live"),
    "subscription_unpaid": ({}, {"status": "unpaid"}, "payment_failed", "unpaid"),
    "subscription_cancelled": ({}, {"status": "cancelled"}, "cancelled", "cancelled"),
    "subscription_cancelling": (
        *({}, {"status": "non_renewing"}),
        *("cancellation_scheduled", "non_renewing"),
    ),
    "subscription_cancellation_scheduled": (
        *({}, {"status": "non_renewing"}),
        *("cancellation_scheduled", "non_renewing"),
    ),
    "subscription_scheduled_cancellation_removed": (
        *({"status": "non_renewing"}, {"status": "live"}),
        *("reactivated", "live"),
    ),
    "subscription_reactivated": (
        *({"status": "non_renewing"}, {"status": "live"}),
        *("reactivated", "live"),
    ),
    "subscription_paused": ({}, {"status": "paused"}, "paused", "paused"),
    "subscription_resumed": ({"status": "paused"}, {"status": "live"}, "resumed", "live"),
    "subscription_expired": ({}, {"status": "expired"}, "expired", "expired"),
    "subscription_deleted": ({}, None, "cancelled", "cancelled"),
    "subscription_changed": ({}, {"plan": {"plan_code": "pro-monthly"}}, "changed", "live"),
    "billing_date_changed": ({}, {"current_term_ends_at": LATER}, "renewed", "live"),
}


async def test_each_event_of_a_subscription_announces_what_zoho_has_now(
    upstream: Upstream, world: World
) -> None:
    events = [event for event in SUBSCRIPTION_EVENTS if event != "subscription_created"]
    rows = await subscriptions(upstream, len(events))
    cases = {event: SUBSCRIPTIONS[event] for event in events}
    by_event = dict(zip(cases, rows, strict=True))

    for event, (before, _, _, _) in cases.items():
        if before:
            by_event[event] = {**by_event[event], **before}
    await upstream.sandbox.load({"billing": {"subscriptions": [*by_event.values()]}})
    for event, (before, _, _, _) in cases.items():
        if before:
            await post(upstream, "subscription_changed", by_event[event])
    await upstream.webhooks_handled()

    now = {event: {**by_event[event], **(after or {})} for event, (_, after, _, _) in cases.items()}
    await upstream.sandbox.load({"billing": {"subscriptions": [*now.values()]}})
    for event, (_, after, _, _) in cases.items():
        if after is None:
            world.table("billing", "subscriptions").remove(now[event]["subscription_id"])
        await post(upstream, event, now[event])
    await upstream.webhooks_handled()

    for number, (event, (_, _, cause, status)) in enumerate(cases.items()):
        changes = upstream.events_named("subscription.changed.v1", subscription_id=f"s{number}")
        assert (changes[-1]["cause"], changes[-1]["status"]) == (cause, status), event
        assert changes[-1]["origin"] == "zoho", event


async def test_a_subscription_that_staff_created_is_announced_under_an_id_of_ours(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.billing_worker.handlers.webhook_user._MAY_BE_OURS_S", 0.0)
    (ours,) = await subscriptions(upstream, 1)
    theirs = {**ours, "subscription_id": "460000000066666666", "reference_id": ""}
    await upstream.sandbox.load({"billing": {"subscriptions": [theirs]}})

    await post(upstream, "subscription_created", theirs)

    created = await upstream.event("subscription.changed.v1", cause="created")
    assert created["subscription_id"].startswith("sub_")
    assert (created["user_id"], created["status"]) == ("u0", "live")


@pytest.mark.parametrize("event", ["invoice_created", "invoice_notification"])
async def test_each_event_of_a_new_invoice_announces_it(upstream: Upstream, event: str) -> None:
    subscription = await a_subscription(upstream)
    await upstream.event("invoice.issued.v1", user_id="u1")
    await upstream.sandbox.set_targets(billing=[])
    renewed = await upstream.sandbox.renew(subscription["subscription_id"])
    invoices = await upstream.records("billing", "invoices")
    (bill,) = [row for row in invoices if row["invoice_id"] == renewed["child_invoice_id"]]

    payload = {"event_type": event, "event_id": "9", "data": {"invoice": bill}}
    await upstream.take_webhook("billing", payload)

    issued = await upstream.event("invoice.issued.v1", number=bill["number"])
    assert issued["subscription_id"] == "s1"


@pytest.mark.parametrize("product", ["billing", "books"])
async def test_each_event_of_a_known_invoice_announces_its_new_balance(
    upstream: Upstream, product: str
) -> None:
    invoice_id = await an_unpaid_invoice(upstream)
    (in_books,) = await upstream.records("books", "invoices")
    await upstream.webhooks_handled()
    of_billing = ("invoice_updated", "invoice_voided", "invoice_changed")
    for number, event in enumerate(BOOKS_EVENTS if product == "books" else of_billing):
        in_books.update(balance=9 - number, status="partially_paid")
        await upstream.sandbox.load({"books": {"invoices": [in_books]}})
        record = record_of(event, in_books)
        payload = record if product == "books" else {"event_type": event, "data": record}
        if product == "books" and not event.endswith("_changed"):
            payload = {"event_type": event, **record}

        await upstream.take_webhook(product, payload, received_at=a_moment_ago())

        changed = await upstream.event("invoice.changed.v1", balance=f"{9 - number}.00")
        assert changed["invoice_id"] == invoice_id, event


def record_of(event: str, invoice: Fields) -> Fields:
    """What the event is about: the invoice, or what was applied to it."""
    number = {"invoice_id": invoice["invoice_id"], "invoice_number": invoice["invoice_number"]}
    kind = event.rpartition("_")[0]
    if kind == "invoice":
        return {"invoice": {**number, "number": invoice["invoice_number"]}}
    applied_to = "invoices_credited" if kind == "creditnote" else "invoices"
    return {kind: {f"{kind}_id": "1", applied_to: [number]}}


async def subscriptions(upstream: Upstream, count: int) -> list[Fields]:
    """Subscriptions `s0`, `s1`, … of users of their own. Zoho's webhooks of them are gone."""
    await upstream.sandbox.set_targets(billing=[])
    for n in range(count):
        email = f"user{n}@example.com"
        await upstream.send(
            # Of the free plan, which makes no invoices.
            subscribe(user_id=f"u{n}", subscription_id=f"s{n}", email=email, plan_code="free")
        )
    for n in range(count):
        await upstream.event("subscription.changed.v1", subscription_id=f"s{n}")
    rows = await upstream.records("billing", "subscriptions")
    return sorted(rows, key=lambda row: int(row["reference_id"][1:]))


async def post(upstream: Upstream, event: str, row: Fields) -> None:
    """Post an event that only names its subscription, as if it had come a moment ago."""
    names = {name: row[name] for name in ("subscription_id", "customer_id")}
    payload = {"event_type": event, "data": {"subscription": names}}
    await upstream.take_webhook("billing", payload, received_at=a_moment_ago())


def a_moment_ago() -> datetime:
    """So that a webhook does not wait for the rest of its burst."""
    return datetime.now(UTC) - timedelta(seconds=1)
