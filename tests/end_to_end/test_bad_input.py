"""What bad input gets: a clear answer, and the next message is handled."""

from __future__ import annotations

from collections import Counter

from deploy.demo.stage import Stage


async def test_a_message_published_twenty_times_makes_one_customer_and_one_contact(
    stage: Stage,
) -> None:
    body = {"user_id": "u-once", "email": "once@example.com", "full_name": "Onna Singleton"}

    for _ in range(10):
        await stage.publish("user.signed_up.v1", body, message_id="once-1")
    await stage.event("customer.created.v1", user_id="u-once")
    for n in range(10):
        await stage.publish("user.signed_up.v1", body, message_id=f"once-more-{n}")
    await stage.publish(
        "user.updated.v1", {"user_id": "u-once", "phone": "+4912345678"}, message_id="once-last"
    )
    await stage.zoho(
        "billing", "customers", "customer with the new phone", lambda c: c["phone"] == "+4912345678"
    )
    await stage.zoho(
        "crm", "contacts", "contact with the new phone", lambda c: c.get("Phone") == "+4912345678"
    )

    state = await stage.sandbox.state()
    held = Counter(
        [c["email"] for c in state["billing"]["customers"]]
        + [c["Email"] for c in state["crm"]["contacts"]]
    )
    assert held["once@example.com"] == 2, "one customer, one contact"
    created = [b for k, b in stage.events if k == "customer.created.v1"]
    assert len([b for b in created if b["user_id"] == "u-once"]) == 1


async def test_a_message_id_with_another_body_is_refused(stage: Stage) -> None:
    body = {"user_id": "u-reuse", "email": "reuse@example.com", "full_name": "Reu Se"}
    await stage.publish("user.signed_up.v1", body, message_id="reused-1")
    await stage.event("customer.created.v1", user_id="u-reuse")

    await stage.publish(
        "user.signed_up.v1", {**body, "email": "other@example.com"}, message_id="reused-1"
    )

    failed = await stage.event("command.failed.v1", code="message_id_reused")
    assert failed["message_id"] == "reused-1"
    state = await stage.sandbox.state()
    assert all(c["email"] != "other@example.com" for c in state["billing"]["customers"])


async def test_a_bad_command_is_answered_and_the_next_one_handled(stage: Stage) -> None:
    await stage.publish(
        "user.signed_up.v1",
        {"user_id": "u-typo", "emial": "typo@example.com"},
        message_id="bad-1",
    )
    await stage.publish("user.signd_up.v1", {"user_id": "u-typo"}, message_id="bad-2")
    await stage.publish(
        "user.signed_up.v1",
        {"user_id": "u-next", "email": "next@example.com", "full_name": "Nex T"},
    )

    failed = await stage.event("command.failed.v1", message_id="bad-1", service="billing-worker")
    assert failed["code"] == "invalid_message"
    assert "email" in failed["reason"]
    assert "typo@example.com" not in str(failed)
    await stage.event("command.failed.v1", message_id="bad-1", service="crm-worker")
    failed = await stage.event("command.failed.v1", message_id="bad-2")
    assert (failed["code"], failed["routing_key"]) == ("unknown_command", "user.signd_up.v1")
    await stage.event("customer.created.v1", user_id="u-next")
    await stage.event("contact.synced.v1", user_id="u-next")


async def test_a_cancellation_that_overtakes_its_request_still_cancels(stage: Stage) -> None:
    await stage.publish(
        "user.signed_up.v1",
        {"user_id": "u-over", "email": "over@example.com", "full_name": "Ovid Tak"},
    )
    await stage.publish(
        "subscription.cancel_requested.v1", {"subscription_id": "s-over", "at_term_end": False}
    )
    await stage.event("customer.created.v1", user_id="u-over")
    await stage.publish(
        "subscription.requested.v1",
        {"user_id": "u-over", "subscription_id": "s-over", "plan_code": "basic-monthly"},
    )

    await stage.event("subscription.changed.v1", subscription_id="s-over", status="cancelled")

    held = [
        s
        for s in (await stage.sandbox.state())["billing"]["subscriptions"]
        if s.get("reference_id") == "s-over"
    ]
    assert [s["status"] for s in held] == ["cancelled"]
