"""What Zoho does by itself reaches the application, in the application's words."""

import pytest

from tests.billing_worker.conftest import Upstream
from tests.billing_worker.test_subscriptions import a_subscription

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_renewal_is_told(upstream: Upstream) -> None:
    held = await a_subscription(upstream)
    before = await upstream.event("subscription.changed.v1", subscription_id="s1")

    await upstream.sandbox.renew(held["subscription_id"])

    told = await upstream.event("subscription.changed.v1", cause="renewed")
    assert told["status"] == "live"
    assert told["term_ends_at"] > before["term_ends_at"]
    assert told["version"] > before["version"]
    assert told["origin"] == "zoho"


async def test_a_failed_payment_is_told_and_the_user_is_to_be_told(upstream: Upstream) -> None:
    held = await a_subscription(upstream)

    await upstream.sandbox.fail_payment(held["subscription_id"])

    failed = await upstream.event("payment.failed.v1", user_id="u1")
    notice = await upstream.event("notification.requested.v1", template="payment_failed")
    assert failed["subscription_id"] == "s1"
    assert notice["email"] == "ada@example.com"
    assert notice["data"]["payment_id"] == failed["payment_id"]
    await upstream.event("subscription.changed.v1", subscription_id="s1", status="unpaid")


async def test_what_staff_cancel_is_told(upstream: Upstream) -> None:
    held = await a_subscription(upstream)

    await upstream.sandbox.cancel(held["subscription_id"])

    told = await upstream.event("subscription.changed.v1", cause="cancelled")
    assert (told["tier"], told["origin"]) == ("Churned", "zoho")
    await upstream.event("notification.requested.v1", template="subscription_cancelled")


async def test_webhooks_that_come_twice_and_in_any_order_tell_once(upstream: Upstream) -> None:
    await upstream.sandbox.misbehave(duplicate=1, shuffle=True)
    held = await a_subscription(upstream)
    await upstream.sandbox.renew(held["subscription_id"])
    await upstream.event("subscription.changed.v1", cause="renewed")
    await upstream.sandbox.fail_payment(held["subscription_id"])
    await upstream.event("payment.failed.v1", user_id="u1")
    await upstream.sandbox.cancel(held["subscription_id"])
    await upstream.event("subscription.changed.v1", status="cancelled")
    await upstream.sandbox.wait_until_delivered(product="billing")

    await a_last_message(upstream)

    causes = [told["cause"] for told in upstream.told("subscription.changed.v1")]
    assert len(causes) == len(set(causes))
    assert len(upstream.told("payment.failed.v1")) == 1
    assert len(upstream.told("notification.requested.v1", template="payment_failed")) == 1


async def test_the_specifications_own_shape_is_understood(upstream: Upstream) -> None:
    await a_subscription(upstream)

    await upstream.sandbox.billing_event(
        "payment_failed", {"customer": {"email": "ada@example.com"}}
    )

    notice = await upstream.event("notification.requested.v1", template="payment_failed")
    assert notice["user_id"] == "u1"


async def test_an_unknown_event_is_acknowledged(upstream: Upstream) -> None:
    await a_subscription(upstream)

    await upstream.sandbox.billing_event("quote_sent", {"quote": {}})
    await upstream.sandbox.wait_until_delivered(product="billing")

    await a_last_message(upstream)
    assert upstream.told("command.failed.v1") == []


async def a_last_message(upstream: Upstream) -> None:
    """Something of another user's that comes through, so that what came before has had its turn."""
    await upstream.publish("user.signed_up.v1", {"user_id": "u9", "email": "last@example.com"})
    await upstream.event("customer.created.v1", user_id="u9")
