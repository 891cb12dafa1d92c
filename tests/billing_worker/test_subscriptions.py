"""Subscriptions are at Zoho what the application wished, and it knows what Zoho made of them."""

from typing import Any

import pytest

from shared.contracts.commands import (
    SubscriptionCancelRequested,
    SubscriptionChangeRequested,
    SubscriptionReactivateRequested,
    SubscriptionRequested,
    UserSignedUp,
)
from tests.billing_worker.conftest import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="session")

ADA = UserSignedUp(user_id="u1", email="ada@example.com", full_name="Ada Fairweather")


def subscribe(**more: Any) -> SubscriptionRequested:
    return SubscriptionRequested(
        **{"user_id": "u1", "subscription_id": "s1", "plan_code": "basic-monthly", **more}
    )


async def a_subscription(upstream: Upstream, **more: Any) -> dict[str, Any]:
    """Ada's, live at Zoho; what Zoho holds of it."""
    await upstream.send(ADA)
    await upstream.send(subscribe(**more))
    await upstream.event("subscription.changed.v1", subscription_id="s1")
    (held,) = await upstream.held("billing", "subscriptions")
    return held


async def test_a_trial_is_a_trial(upstream: Upstream) -> None:
    held = await a_subscription(upstream, trial_days=14)

    told = await upstream.event("subscription.changed.v1", subscription_id="s1")
    assert held["status"] == "trial"
    assert held["reference_id"] == "s1"
    assert held["auto_collect"] is False
    assert (told["status"], told["tier"], told["active"]) == ("trial", "Trial", True)
    assert told["origin"] == "application"


async def test_a_paid_subscription_has_an_invoice_under_an_id_of_ours(upstream: Upstream) -> None:
    await a_subscription(upstream)

    told = await upstream.event("subscription.changed.v1", subscription_id="s1")
    issued = await upstream.event("invoice.issued.v1", user_id="u1")
    (in_books,) = await upstream.held("books", "invoices")
    assert told["tier"] == "Paid Tier"
    assert issued["subscription_id"] == "s1"
    assert issued["number"] == in_books["invoice_number"]
    assert issued["invoice_id"].startswith("inv_")
    assert len(upstream.told("invoice.issued.v1")) == 1


async def test_an_invoice_is_announced_once_books_has_it(upstream: Upstream) -> None:
    await upstream.sandbox.set_lag(integration=3)

    await a_subscription(upstream)

    await upstream.event("invoice.issued.v1", subscription_id="s1")


async def test_a_free_plan_is_the_free_tier(upstream: Upstream) -> None:
    await a_subscription(upstream, plan_code="free")

    told = await upstream.event("subscription.changed.v1", subscription_id="s1")
    assert told["tier"] == "Free Tier"


async def test_a_stored_card_is_charged(upstream: Upstream) -> None:
    await upstream.send(ADA)
    await upstream.event("customer.created.v1", user_id="u1")
    (customer,) = await upstream.held("billing", "customers")
    await upstream.sandbox.add_card(customer["customer_id"])

    await upstream.send(subscribe(use_stored_card=True))

    paid = await upstream.event("payment.succeeded.v1", user_id="u1")
    issued = await upstream.event("invoice.issued.v1", user_id="u1")
    assert paid["invoice_id"] == issued["invoice_id"]
    (held,) = await upstream.held("billing", "subscriptions")
    assert held["auto_collect"] is True


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        (subscribe(use_stored_card=True), "no_stored_card"),
        (subscribe(plan_code="no-such-plan"), "unknown_plan"),
    ],
)
async def test_what_cannot_be_is_answered_with_its_reason(
    upstream: Upstream, wish: SubscriptionRequested, code: str
) -> None:
    await upstream.send(ADA)
    await upstream.send(wish)

    failed = await upstream.event("command.failed.v1")
    assert failed["code"] == code


async def test_a_cancellation_that_overtakes_its_request_holds(upstream: Upstream) -> None:
    await upstream.send(SubscriptionCancelRequested(subscription_id="s1", at_term_end=False))
    await upstream.send(ADA)
    await upstream.send(subscribe())

    await upstream.event("subscription.changed.v1", subscription_id="s1", status="cancelled")
    (held,) = await upstream.held("billing", "subscriptions")
    assert held["status"] == "cancelled"


async def test_cancelled_at_once_is_churned_and_the_user_is_told(upstream: Upstream) -> None:
    await a_subscription(upstream)

    await upstream.send(SubscriptionCancelRequested(subscription_id="s1", at_term_end=False))

    told = await upstream.event("subscription.changed.v1", subscription_id="s1", status="cancelled")
    assert told["tier"] == "Churned"
    assert told["active"] is False
    notice = await upstream.event("notification.requested.v1", template="subscription_cancelled")
    assert (notice["email"], notice["user_id"]) == ("ada@example.com", "u1")


async def test_what_ends_with_its_term_can_be_reactivated(upstream: Upstream) -> None:
    await a_subscription(upstream)

    await upstream.send(SubscriptionCancelRequested(subscription_id="s1"))
    ending = await upstream.event("subscription.changed.v1", status="non_renewing")
    await upstream.send(SubscriptionReactivateRequested(subscription_id="s1"))

    back = await upstream.event("subscription.changed.v1", cause="reactivated")
    assert ending["tier"] == "Paid Tier"
    assert back["status"] == "live"
    assert back["version"] > ending["version"]


async def test_the_plan_changes_at_once(upstream: Upstream) -> None:
    await a_subscription(upstream)

    await upstream.send(SubscriptionChangeRequested(subscription_id="s1", plan_code="pro-monthly"))

    told = await upstream.event("subscription.changed.v1", plan_code="pro-monthly")
    assert told["status"] == "live"


async def test_the_same_request_ten_times_makes_one_subscription(upstream: Upstream) -> None:
    await upstream.send(ADA)
    for _ in range(5):
        await upstream.send(subscribe(), message_id="m1")
        await upstream.send(subscribe())
    await upstream.send(SubscriptionCancelRequested(subscription_id="s1"))

    await upstream.event("subscription.changed.v1", status="non_renewing")
    assert len(await upstream.held("billing", "subscriptions")) == 1


async def test_a_lost_answer_makes_no_second_subscription(upstream: Upstream) -> None:
    await upstream.send(ADA)
    await upstream.event("customer.created.v1", user_id="u1")
    await upstream.sandbox.fault("billing", "reset_after", operation="create_subscription", times=1)

    await upstream.send(subscribe())

    await upstream.event("subscription.changed.v1", subscription_id="s1")
    assert len(await upstream.held("billing", "subscriptions")) == 1


async def test_a_command_that_does_not_exist_is_answered(upstream: Upstream) -> None:
    await upstream.publish("subscription.paused.v1", {"subscription_id": "s1"})

    failed = await upstream.event("command.failed.v1")
    assert failed["routing_key"] == "subscription.paused.v1"
    assert failed["code"] == "unknown_command"
