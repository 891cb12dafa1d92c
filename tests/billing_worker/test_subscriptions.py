"""Subscriptions at Zoho become what the application requests, and their state is announced."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from shared.contracts.commands import (
    ChosenAddon,
    SubscriptionCancelRequested,
    SubscriptionChangeRequested,
    SubscriptionReactivateRequested,
    SubscriptionRequested,
)
from tests.billing_worker.conftest import Upstream
from tests.billing_worker.scenarios import ADA, a_last_message, a_subscription, subscribe

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_subscription_with_trial_days_is_a_trial(upstream: Upstream) -> None:
    subscription = await a_subscription(upstream, trial_days=14)

    changed = await upstream.event("subscription.changed.v1", subscription_id="s1")
    assert subscription["status"] == "trial"
    assert subscription["reference_id"] == "s1"
    assert subscription["auto_collect"] is False
    assert (changed["status"], changed["tier"], changed["active"]) == ("trial", "Trial", True)
    assert changed["origin"] == "application"


async def test_a_paid_subscription_has_an_invoice_under_an_id_of_ours(upstream: Upstream) -> None:
    await a_subscription(upstream)

    changed = await upstream.event("subscription.changed.v1", subscription_id="s1")
    issued = await upstream.event("invoice.issued.v1", user_id="u1")
    (in_books,) = await upstream.records("books", "invoices")
    assert changed["tier"] == "Paid Tier"
    assert issued["subscription_id"] == "s1"
    assert issued["number"] == in_books["invoice_number"]
    assert issued["invoice_id"].startswith("inv_")
    assert len(upstream.events_named("invoice.issued.v1")) == 1


async def test_an_invoice_is_announced_once_books_has_it(upstream: Upstream) -> None:
    await upstream.sandbox.set_lag(integration=3)

    await a_subscription(upstream)

    await upstream.event("invoice.issued.v1", subscription_id="s1")


async def test_a_free_plan_is_the_free_tier(upstream: Upstream) -> None:
    await a_subscription(upstream, plan_code="free")

    changed = await upstream.event("subscription.changed.v1", subscription_id="s1")
    assert changed["tier"] == "Free Tier"


async def test_a_stored_card_is_charged(upstream: Upstream) -> None:
    await upstream.send(ADA)
    await upstream.event("customer.created.v1", user_id="u1")
    (customer,) = await upstream.records("billing", "customers")
    await upstream.sandbox.add_card(customer["customer_id"])

    await upstream.send(subscribe(use_stored_card=True))

    paid = await upstream.event("payment.succeeded.v1", user_id="u1")
    issued = await upstream.event("invoice.issued.v1", user_id="u1")
    assert paid["invoice_id"] == issued["invoice_id"]
    (subscription,) = await upstream.records("billing", "subscriptions")
    assert subscription["auto_collect"] is True


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (subscribe(use_stored_card=True), "no_stored_card"),
        (subscribe(plan_code="no-such-plan"), "unknown_plan"),
    ],
)
async def test_an_impossible_request_is_answered_with_its_reason(
    upstream: Upstream, command: SubscriptionRequested, code: str
) -> None:
    await upstream.send(ADA)
    await upstream.send(command)

    failed = await upstream.event("command.failed.v1")
    assert failed["code"] == code


async def test_a_cancellation_that_overtakes_its_request_holds(upstream: Upstream) -> None:
    await upstream.send(SubscriptionCancelRequested(subscription_id="s1", at_term_end=False))
    await upstream.send(ADA)
    await upstream.send(subscribe())

    await upstream.event("subscription.changed.v1", subscription_id="s1", status="cancelled")
    (subscription,) = await upstream.records("billing", "subscriptions")
    assert subscription["status"] == "cancelled"


async def test_cancelled_at_once_is_churned_and_the_user_is_notified(upstream: Upstream) -> None:
    await a_subscription(upstream)

    await upstream.send(SubscriptionCancelRequested(subscription_id="s1", at_term_end=False))

    changed = await upstream.event(
        "subscription.changed.v1", subscription_id="s1", status="cancelled"
    )
    assert changed["tier"] == "Churned"
    assert changed["active"] is False
    notice = await upstream.event("notification.requested.v1", template="subscription_cancelled")
    assert (notice["email"], notice["user_id"]) == ("ada@example.com", "u1")


async def test_a_subscription_that_ends_with_its_term_can_be_reactivated(
    upstream: Upstream,
) -> None:
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

    changed = await upstream.event("subscription.changed.v1", plan_code="pro-monthly")
    assert changed["status"] == "live"


async def test_the_same_request_ten_times_makes_one_subscription(upstream: Upstream) -> None:
    await upstream.send(ADA)
    for _ in range(5):
        await upstream.send(subscribe(), message_id="m1")
        await upstream.send(subscribe())
    await upstream.send(SubscriptionCancelRequested(subscription_id="s1"))

    await upstream.event("subscription.changed.v1", status="non_renewing")
    assert len(await upstream.records("billing", "subscriptions")) == 1


async def test_a_lost_answer_makes_no_second_subscription(upstream: Upstream) -> None:
    await upstream.send(ADA)
    await upstream.event("customer.created.v1", user_id="u1")
    await upstream.sandbox.fault("billing", "reset_after", operation="create_subscription", times=1)

    await upstream.send(subscribe())

    await upstream.event("subscription.changed.v1", subscription_id="s1")
    assert len(await upstream.records("billing", "subscriptions")) == 1


async def test_a_command_that_does_not_exist_is_answered(upstream: Upstream) -> None:
    await upstream.publish("subscription.paused.v1", {"subscription_id": "s1"})

    failed = await upstream.event("command.failed.v1")
    assert failed["routing_key"] == "subscription.paused.v1"
    assert failed["code"] == "unknown_command"


async def test_a_quantity_multiplies_the_price(upstream: Upstream) -> None:
    subscription = await a_subscription(upstream, quantity=3)

    issued = await upstream.event("invoice.issued.v1", subscription_id="s1")
    assert subscription["plan"]["quantity"] == 3
    assert Decimal(issued["total"]) == 3 * Decimal(str(subscription["plan"]["price"]))


SEATS = ChosenAddon(addon_code="extra-seat", quantity=2)


async def test_addons_are_billed_with_the_plan_and_announced(upstream: Upstream) -> None:
    once = ChosenAddon(addon_code="onboarding")

    subscription = await a_subscription(upstream, addons=(SEATS, once))

    changed = await upstream.event("subscription.changed.v1", subscription_id="s1")
    issued = await upstream.event("invoice.issued.v1", subscription_id="s1")
    price = Decimal(str(subscription["plan"]["price"]))
    assert Decimal(issued["total"]) == price + 2 * 5 + 30
    assert changed["addons"] == [{"addon_code": "extra-seat", "quantity": 2}]
    await upstream.sandbox.renew(subscription["subscription_id"])
    renewed = await upstream.event("subscription.changed.v1", cause="renewed")
    assert renewed["addons"] == changed["addons"]


async def test_an_addon_that_does_not_exist_makes_no_subscription(upstream: Upstream) -> None:
    await upstream.send(ADA)

    await upstream.send(subscribe(addons=(ChosenAddon(addon_code="no-such-addon"),)))

    assert (await upstream.event("command.failed.v1"))["code"] == "unknown_addon"
    assert await upstream.records("billing", "subscriptions") == []


async def test_addons_change_at_once(upstream: Upstream) -> None:
    await a_subscription(upstream)
    change = SubscriptionChangeRequested(
        subscription_id="s1", plan_code="basic-monthly", addons=(SEATS,)
    )

    for _ in range(2):
        await upstream.send(change)
    added = await upstream.event(
        "subscription.changed.v1", addons=[{"addon_code": "extra-seat", "quantity": 2}]
    )
    await upstream.send(change.model_copy(update={"quantity": 3, "addons": None}))
    kept = await upstream.event("subscription.changed.v1", quantity=3)
    await upstream.send(change.model_copy(update={"addons": ()}))

    await upstream.event("subscription.changed.v1", quantity=3, addons=[])
    (subscription,) = await upstream.records("billing", "subscriptions")
    updates = await upstream.sandbox.requests(product="billing", operation="update_subscription")
    of_this = [u for u in updates if subscription["subscription_id"] in u["path"]]
    assert added["cause"] == "changed"
    assert kept["addons"] == added["addons"]
    assert subscription["addons"] == []
    assert len(of_this) == 3


async def test_addons_can_change_when_the_term_ends(upstream: Upstream) -> None:
    before = await a_subscription(upstream)

    await upstream.send(
        SubscriptionChangeRequested(
            subscription_id="s1", plan_code="basic-monthly", addons=(SEATS,), at_term_end=True
        )
    )
    scheduled = await upstream.zoho(
        "billing", "subscriptions", "scheduled", lambda s: s["end_of_term"]
    )
    await upstream.sandbox.renew(before["subscription_id"])

    changed = await upstream.event("subscription.changed.v1", cause="renewed")
    assert scheduled["addons"] == []
    assert changed["addons"] == [{"addon_code": "extra-seat", "quantity": 2}]


async def test_a_coupon_reduces_the_price(upstream: Upstream) -> None:
    subscription = await a_subscription(upstream, coupon_code="WELCOME10")

    issued = await upstream.event("invoice.issued.v1", subscription_id="s1")
    price = Decimal(str(subscription["plan"]["price"]))
    assert Decimal(issued["total"]) == (price * Decimal("0.9")).quantize(Decimal("0.01"))


async def test_a_coupon_that_does_not_exist_makes_no_subscription(upstream: Upstream) -> None:
    await upstream.send(ADA)

    await upstream.send(subscribe(coupon_code="no-such-coupon"))

    assert (await upstream.event("command.failed.v1"))["code"] == "zoho_rejected"
    assert await upstream.records("billing", "subscriptions") == []


async def test_a_subscription_that_starts_later_is_paid_but_not_active_yet(
    upstream: Upstream,
) -> None:
    starts_at = datetime.now(UTC).date() + timedelta(days=10)

    subscription = await a_subscription(upstream, starts_at=starts_at)

    changed = await upstream.event("subscription.changed.v1", subscription_id="s1")
    assert subscription["status"] == changed["status"] == "future"
    assert (changed["tier"], changed["active"]) == ("Paid Tier", False)


async def test_the_plan_can_change_when_the_term_ends(upstream: Upstream) -> None:
    before = await a_subscription(upstream)

    await upstream.send(
        SubscriptionChangeRequested(subscription_id="s1", plan_code="pro-monthly", at_term_end=True)
    )
    await upstream.zoho("billing", "subscriptions", "scheduled", lambda s: s["end_of_term"])
    await upstream.sandbox.renew(before["subscription_id"])

    changed = await upstream.event("subscription.changed.v1", plan_code="pro-monthly")
    assert changed["status"] == "live"


async def test_a_quantity_changes_at_once(upstream: Upstream) -> None:
    await a_subscription(upstream)

    for _ in range(2):
        await upstream.send(
            SubscriptionChangeRequested(subscription_id="s1", plan_code="basic-monthly", quantity=5)
        )

    subscription = await upstream.zoho(
        "billing", "subscriptions", "changed", lambda s: s["plan"]["quantity"] == 5
    )
    await a_last_message(upstream)
    assert subscription["status"] == "live"
    updates = await upstream.sandbox.requests(product="billing", operation="update_subscription")
    of_this = [u for u in updates if subscription["subscription_id"] in u["path"]]
    assert len(of_this) == 1


async def test_a_subscription_made_by_staff_is_known_under_an_id_of_ours(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.billing_worker.handlers.webhook_user._MAY_BE_OURS_S", 0.0)
    ours = await a_subscription(upstream)
    theirs = {**ours, "subscription_id": "460000000088888888", "reference_id": ""}
    await upstream.sandbox.load({"billing": {"subscriptions": [theirs]}})

    await upstream.sandbox.billing_event("subscription_created", {"subscription": theirs})
    known = await upstream.event("subscription.changed.v1", origin="zoho")
    await upstream.send(
        SubscriptionCancelRequested(subscription_id=known["subscription_id"], at_term_end=False)
    )

    await upstream.event(
        "subscription.changed.v1", subscription_id=known["subscription_id"], status="cancelled"
    )
