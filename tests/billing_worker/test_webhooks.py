"""Changes at Zoho reach the application as events with its own ids."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from shared.contracts.commands import PaymentRefundRequested
from tests.billing_worker.conftest import Upstream
from tests.billing_worker.scenarios import (
    a_card_payment,
    a_subscription,
    an_unpaid_invoice,
    with_card,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

_A_MINUTE = timedelta(minutes=1)


async def test_a_renewal_is_announced(upstream: Upstream) -> None:
    subscription = await a_subscription(upstream)
    before = await upstream.event("subscription.changed.v1", subscription_id="s1")

    await upstream.sandbox.renew(subscription["subscription_id"])

    changed = await upstream.event("subscription.changed.v1", cause="renewed")
    await upstream.event("notification.requested.v1", template="subscription_renewed")
    assert changed["status"] == "live"
    assert changed["term_ends_at"] > before["term_ends_at"]
    assert changed["version"] > before["version"]
    assert changed["origin"] == "zoho"


async def test_a_failed_payment_is_announced_with_a_notification(upstream: Upstream) -> None:
    subscription = await a_subscription(upstream)

    await upstream.sandbox.fail_payment(subscription["subscription_id"])

    failed = await upstream.event("payment.failed.v1", user_id="u1")
    notice = await upstream.event("notification.requested.v1", template="payment_failed")
    assert failed["subscription_id"] == "s1"
    assert notice["email"] == "ada@example.com"
    assert notice["data"]["payment_id"] == failed["payment_id"]
    await upstream.event("subscription.changed.v1", subscription_id="s1", status="unpaid")


async def test_a_cancellation_by_staff_is_announced(upstream: Upstream) -> None:
    subscription = await a_subscription(upstream)

    await upstream.sandbox.cancel(subscription["subscription_id"])

    changed = await upstream.event("subscription.changed.v1", cause="cancelled")
    assert (changed["tier"], changed["origin"]) == ("Churned", "zoho")
    await upstream.event("notification.requested.v1", template="subscription_cancelled")


async def test_duplicated_and_shuffled_webhooks_announce_each_change_once(
    upstream: Upstream,
) -> None:
    await upstream.sandbox.set_delivery_faults(duplicate=1, shuffle=True)
    subscription = await a_subscription(upstream)
    await upstream.sandbox.renew(subscription["subscription_id"])
    await upstream.event("subscription.changed.v1", cause="renewed")
    await upstream.sandbox.fail_payment(subscription["subscription_id"])
    await upstream.event("payment.failed.v1", user_id="u1")
    await upstream.sandbox.cancel(subscription["subscription_id"])
    await upstream.event("subscription.changed.v1", status="cancelled")
    await upstream.webhooks_handled()

    causes = [changed["cause"] for changed in upstream.events_named("subscription.changed.v1")]
    assert len(causes) == len(set(causes))
    assert len(upstream.events_named("payment.failed.v1")) == 1
    assert len(upstream.events_named("notification.requested.v1", template="payment_failed")) == 1


async def test_the_short_payload_shape_is_understood(upstream: Upstream) -> None:
    await a_subscription(upstream)

    await upstream.sandbox.billing_event(
        "payment_failed", {"customer": {"email": "ada@example.com"}}
    )

    notice = await upstream.event("notification.requested.v1", template="payment_failed")
    assert notice["user_id"] == "u1"


async def test_webhooks_of_one_failure_without_a_payment_id_request_one_notification(
    upstream: Upstream,
) -> None:
    subscription = await a_subscription(upstream)
    await upstream.sandbox.fail_payment(subscription["subscription_id"])
    await upstream.event("payment.failed.v1", user_id="u1")

    for _ in range(2):
        await upstream.sandbox.billing_event(
            "payment_failed", {"customer": {"email": "ada@example.com"}}
        )
    await upstream.webhooks_handled()

    assert len(upstream.events_named("payment.failed.v1")) == 1
    assert len(upstream.events_named("notification.requested.v1", template="payment_failed")) == 1


async def test_a_failure_without_a_payment_id_is_announced_once_though_it_names_its_next_try(
    upstream: Upstream,
) -> None:
    subscription = await a_subscription(upstream)
    await upstream.sandbox.fail_payment(subscription["subscription_id"])
    await upstream.event("payment.failed.v1", user_id="u1")

    retried = {"customer_id": subscription["customer_id"], "next_retry_at": "2031-01-02"}
    for _ in range(2):
        await upstream.sandbox.billing_event("payment_declined", {"payment": retried})
    await upstream.webhooks_handled()

    assert len(upstream.events_named("payment.failed.v1")) == 1
    assert len(upstream.events_named("notification.requested.v1", template="payment_failed")) == 1


@pytest.mark.parametrize("listed", [True, False], ids=["no payment failed", "no list of payments"])
async def test_failures_that_zoho_lists_no_payment_of_differ_by_their_next_try(
    upstream: Upstream, listed: bool
) -> None:
    subscription = await a_subscription(upstream)
    if not listed:
        await upstream.sandbox.fault("billing", "status:404", operation="list_payments")

    for day in ("2031-01-02", "2031-01-02", "2031-01-05"):
        failed = {"customer_id": subscription["customer_id"], "next_retry_at": day}
        await upstream.sandbox.billing_event("payment_declined", {"payment": failed})
    await upstream.webhooks_handled()

    announced = upstream.events_named("payment.failed.v1", user_id="u1")
    assert sorted(event["next_retry_at"][:10] for event in announced) == [
        "2031-01-02",
        "2031-01-05",
    ]
    assert len(upstream.events_named("notification.requested.v1", template="payment_failed")) == 2


async def test_failures_of_two_invoices_without_a_payment_id_are_announced_each(
    upstream: Upstream,
) -> None:
    subscription = await a_subscription(upstream)
    customer_id = subscription["customer_id"]
    failed_at = datetime.now(UTC) - timedelta(hours=1)
    payments = [
        {
            "payment_id": f"46000000000999{number}",
            "customer_id": customer_id,
            "status": "failure",
            "amount": 10 + number,
            "currency_code": "USD",
            "date": failed_at.date().isoformat(),
            "created_time": (failed_at + timedelta(minutes=number)).isoformat(),
            "invoices": [{"invoice_id": f"46000000000888{number}", "amount_applied": 10}],
        }
        for number in (1, 2)
    ]
    await upstream.sandbox.load({"billing": {"payments": payments}})

    for number in (1, 2, 1):
        invoice = {"invoice_id": f"46000000000888{number}", "customer_id": customer_id}
        await upstream.sandbox.billing_event("payment_declined", {"invoice": invoice})
    await upstream.webhooks_handled()

    announced = upstream.events_named("payment.failed.v1", user_id="u1")
    assert sorted(event["amount"] for event in announced) == ["11.00", "12.00"]


async def test_a_failed_payment_that_is_listed_without_its_invoices_is_announced_once(
    upstream: Upstream,
) -> None:
    subscription = await a_subscription(upstream)
    await upstream.sandbox.fail_payment(subscription["subscription_id"])
    failed = await upstream.event("payment.failed.v1", user_id="u1")
    payments = await upstream.records("billing", "payments")
    await upstream.sandbox.load(
        {"billing": {"payments": [{**p, "invoices": []} for p in payments]}}
    )

    invoice = {
        "invoice_id": payments[-1]["invoices"][0]["invoice_id"],
        "customer_id": subscription["customer_id"],
    }
    await upstream.sandbox.billing_event("payment_declined", {"invoice": invoice})
    await upstream.webhooks_handled()

    assert upstream.events_named("payment.failed.v1", user_id="u1") == [failed]


async def test_a_subscription_of_staff_with_a_reference_of_ours_is_another_one(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.billing_worker.handlers.webhook_user._MAY_BE_OURS_S", 0.0)
    ours = await a_subscription(upstream)
    theirs = {**ours, "subscription_id": "460000000077777777", "status": "live"}
    await upstream.sandbox.load({"billing": {"subscriptions": [theirs]}})

    await upstream.sandbox.billing_event("subscription_created", {"subscription": theirs})

    changed = await upstream.event("subscription.changed.v1", origin="zoho")
    reads = await upstream.sandbox.requests(product="billing", operation="retrieve_subscription")
    of_theirs = [read for read in reads if theirs["subscription_id"] in read["path"]]
    assert changed["subscription_id"].startswith("sub_")
    assert len(of_theirs) == 1


async def test_an_invoice_that_staff_void_in_books_is_announced_once(upstream: Upstream) -> None:
    invoice_id = await an_unpaid_invoice(upstream)
    (in_books,) = await upstream.records("books", "invoices")

    in_books.update(status="void", balance=0)
    await upstream.sandbox.load({"books": {"invoices": [in_books]}})
    for _ in range(2):
        await upstream.post_books_record("invoice", in_books)

    changed = await upstream.event("invoice.changed.v1", invoice_id=invoice_id)
    await upstream.webhooks_handled()
    assert (changed["status"], changed["origin"]) == ("void", "zoho")
    assert len(upstream.events_named("invoice.changed.v1", invoice_id=invoice_id)) == 1


@pytest.mark.parametrize(
    ("record", "applied_to"),
    [("customerpayment", "invoices"), ("creditnote", "invoices_credited")],
)
async def test_a_payment_or_credit_in_books_announces_its_invoice(
    upstream: Upstream, record: str, applied_to: str
) -> None:
    invoice_id = await an_unpaid_invoice(upstream)
    (in_books,) = await upstream.records("books", "invoices")
    in_books.update(status="paid", balance=0)
    await upstream.sandbox.load({"books": {"invoices": [in_books]}})

    number = in_books["invoice_number"]
    await upstream.post_books_record(record, {applied_to: [{"invoice_number": number}]})

    changed = await upstream.event("invoice.changed.v1", invoice_id=invoice_id)
    assert (changed["status"], changed["balance"]) == ("paid", "0.00")


async def test_a_trial_that_ends_soon_requests_one_notification(upstream: Upstream) -> None:
    subscription = await a_subscription(upstream, trial_days=14)

    for _ in range(2):
        await upstream.sandbox.remind(subscription["subscription_id"], "trial_expiring")

    notice = await upstream.event("notification.requested.v1", template="trial_ending")
    await upstream.webhooks_handled()
    assert notice["email"] == "ada@example.com"
    assert notice["data"]["subscription_id"] == "s1"
    assert notice["data"]["ends_at"]
    assert len(upstream.events_named("notification.requested.v1")) == 1


async def test_a_card_that_expires_soon_requests_one_notification(upstream: Upstream) -> None:
    await a_subscription(upstream)
    await with_card(upstream)
    (card,) = await upstream.records("billing", "cards")

    for _ in range(2):
        await upstream.sandbox.expire_card(card["card_id"], soon=True)

    notice = await upstream.event("notification.requested.v1", template="card_expiring")
    await upstream.webhooks_handled()
    assert notice["data"]["expires_year"] == card["expiry_year"]
    assert notice["data"]["last_four_digits"] == f"{int(card['last_four_digits']):04}"
    assert len(upstream.events_named("notification.requested.v1")) == 1


async def test_a_refund_requests_a_notification(upstream: Upstream) -> None:
    payment_id = await a_card_payment(upstream)

    await upstream.send(
        PaymentRefundRequested(
            payment_id=payment_id, refund_id="r1", amount=Decimal(4), reason="sorry"
        )
    )

    notice = await upstream.event("notification.requested.v1", template="payment_refunded")
    assert (notice["data"]["payment_id"], notice["data"]["amount"]) == (payment_id, "4.00")


@pytest.mark.parametrize("shift", [-_A_MINUTE, timedelta(hours=1)])
async def test_a_state_in_a_webhook_that_is_older_or_far_ahead_is_not_taken(
    upstream: Upstream, shift: timedelta
) -> None:
    subscription = await a_subscription(upstream)
    carried = {**subscription, "status": "cancelled", "updated_time": later(subscription, shift)}

    await upstream.sandbox.billing_event("subscription_cancelled", {"subscription": carried})
    await upstream.webhooks_handled()

    statuses = {e["status"] for e in upstream.events_named("subscription.changed.v1")}
    assert statuses == {"live"}


async def test_a_webhook_with_an_older_state_has_the_present_one_read(upstream: Upstream) -> None:
    subscription = await a_subscription(upstream)
    now = {**subscription, "status": "paused", "updated_time": later(subscription, _A_MINUTE)}
    await upstream.sandbox.load({"billing": {"subscriptions": [now]}})

    old = {**subscription, "status": "unpaid", "updated_time": later(subscription, -_A_MINUTE)}
    await upstream.sandbox.billing_event("subscription_unpaid", {"subscription": old})
    await upstream.webhooks_handled()

    statuses = [e["status"] for e in upstream.events_named("subscription.changed.v1")]
    assert statuses == ["live", "paused"]


async def test_a_read_that_is_older_than_what_is_stored_changes_nothing(
    upstream: Upstream,
) -> None:
    subscription = await a_subscription(upstream)
    newer = later(subscription, timedelta(minutes=2))
    carried = {**subscription, "status": "unpaid", "updated_time": newer}
    await upstream.sandbox.billing_event("subscription_unpaid", {"subscription": carried})
    await upstream.event("subscription.changed.v1", status="unpaid")

    bare = {"subscription_id": subscription["subscription_id"]}
    await upstream.sandbox.billing_event("subscription_renewed", {"subscription": bare})
    await upstream.webhooks_handled()

    statuses = [e["status"] for e in upstream.events_named("subscription.changed.v1")]
    assert statuses == ["live", "unpaid"]


def later(record: dict[str, Any], shift: timedelta) -> str:
    """The record's time of change, shifted."""
    updated = datetime.strptime(record["updated_time"], "%Y-%m-%dT%H:%M:%S%z")
    return (updated + shift).strftime("%Y-%m-%dT%H:%M:%S%z")


async def test_an_unknown_event_is_acknowledged(upstream: Upstream) -> None:
    await a_subscription(upstream)

    await upstream.sandbox.billing_event("quote_sent", {"quote": {}})
    await upstream.sandbox.wait_until_delivered(product="billing")

    await upstream.webhooks_handled()
    assert upstream.events_named("command.failed.v1") == []
