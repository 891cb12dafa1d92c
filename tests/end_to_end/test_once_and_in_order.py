"""Test that Zoho ends as the sender meant, in whatever order and however often commands come."""

from __future__ import annotations

from collections import Counter
from functools import partial

from deploy.driving.system_driver import SystemDriver
from deploy.local.stack import Stack
from services.zoho_sandbox.driver import Json
from tests.kit.people import email_of, sign_up_of
from tests.kit.scrape import Settlements

WORKERS = ("billing-worker", "crm-worker")


async def test_a_sign_up_published_twenty_times_makes_one_customer_and_one_contact(
    stack: Stack, stage: SystemDriver
) -> None:
    body = sign_up_of("u-once")
    settlements = Settlements(stack, *WORKERS)

    for _ in range(10):
        await stage.publish("user.signed_up.v1", body, message_id="once-1")
    for n in range(10):
        await stage.publish("user.signed_up.v1", body, message_id=f"once-more-{n}")
    for worker in WORKERS:
        await settlements.until(worker, "user.signed_up.v1", "done", count=11)
    await stage.event("contact.synced.v1", user_id="u-once")
    await _change_something(stage, "u-once")

    state = await stage.sandbox.state()
    customers = Counter(c["email"] for c in state["billing"]["customers"])
    contacts = Counter(c["Email"] for c in state["crm"]["contacts"])
    assert (customers[body["email"]], contacts[body["email"]]) == (1, 1)
    created = [b for k, b in stage.events if k == "customer.created.v1"]
    assert [b["user_id"] for b in created].count("u-once") == 1
    assert not any(k == "command.failed.v1" for k, _ in stage.events)


async def test_a_cancellation_that_overtakes_its_request_still_cancels(
    stack: Stack, stage: SystemDriver
) -> None:
    await _sign_up(stage, "u-over")
    settlements = Settlements(stack, "billing-worker")
    cancel = {"subscription_id": "s-over", "at_term_end": False}
    await stage.publish("subscription.cancel_requested.v1", cancel)
    await settlements.until("billing-worker", "subscription.cancel_requested.v1", "wait_for_fact")

    await _subscribe(stage, "u-over", "s-over")

    await stage.event("subscription.changed.v1", subscription_id="s-over", status="live")
    await stage.event("subscription.changed.v1", subscription_id="s-over", status="cancelled")
    assert await _statuses(stage, "s-over") == ["cancelled"]


async def test_a_cancellation_that_overtook_undoes_nothing_that_was_asked_for_after_it(
    stack: Stack, stage: SystemDriver
) -> None:
    await _sign_up(stage, "u-again")
    settlements = Settlements(stack, "billing-worker")
    await stage.publish("subscription.cancel_requested.v1", {"subscription_id": "s-again"})
    await settlements.until("billing-worker", "subscription.cancel_requested.v1", "wait_for_fact")
    await _subscribe(stage, "u-again", "s-again")
    await stage.event("subscription.changed.v1", subscription_id="s-again", status="live")

    await stage.publish("subscription.reactivate_requested.v1", {"subscription_id": "s-again"})
    await settlements.until("billing-worker", "subscription.reactivate_requested.v1", "done")
    await settlements.until("billing-worker", "subscription.cancel_requested.v1", "done")

    assert await _statuses(stage, "s-again") == ["live"]


async def test_an_old_update_that_waited_for_its_user_changes_nothing_newer(
    stack: Stack, stage: SystemDriver
) -> None:
    settlements = Settlements(stack, *WORKERS)
    old = {"user_id": "u-old", "phone": "+49 30 111111", "full_name": "Olda Name"}
    await stage.publish("user.updated.v1", old)
    for worker in WORKERS:
        await settlements.until(worker, "user.updated.v1", "wait_for_fact")

    await _sign_up(stage, "u-old")
    await stage.publish("user.updated.v1", {"user_id": "u-old", "phone": "+49 30 222222"})
    await _phone_is(stage, "u-old", "+49 30 222222")
    for worker in WORKERS:
        await settlements.until(worker, "user.updated.v1", "done", count=2)
    await stage.zoho(
        "billing", "customers", "customer of the new name", lambda c: "Olda" in c["display_name"]
    )
    await _change_something(stage, "u-old")

    await _phone_is(stage, "u-old", "+49 30 222222")


async def test_an_old_update_that_zoho_refused_for_a_while_changes_nothing_newer(
    stack: Stack, stage: SystemDriver
) -> None:
    await _sign_up(stage, "u-late")
    settlements = Settlements(stack, *WORKERS)
    fault = "status:503"
    await stage.sandbox.fault("billing", fault, operation="update_customer", times=1)
    await stage.sandbox.fault("crm", fault, operation="upsert_records", times=1)

    for phone in ("+49 30 333333", "+49 30 444444"):
        await stage.publish("user.updated.v1", {"user_id": "u-late", "phone": phone})

    for worker in WORKERS:
        await settlements.until(worker, "user.updated.v1", "done", count=2)
    await _phone_is(stage, "u-late", "+49 30 444444")
    await _change_something(stage, "u-late")
    await _phone_is(stage, "u-late", "+49 30 444444")
    met = Counter(r["operation"] for r in await stage.sandbox.requests() if r["fault"] == fault)
    assert met == {"update_customer": 1, "upsert_records": 1}


async def _sign_up(stage: SystemDriver, user_id: str) -> None:
    await stage.publish("user.signed_up.v1", sign_up_of(user_id))
    await stage.event("customer.created.v1", user_id=user_id)
    await stage.event("contact.synced.v1", user_id=user_id)


async def _subscribe(stage: SystemDriver, user_id: str, subscription_id: str) -> None:
    body = {"user_id": user_id, "subscription_id": subscription_id, "plan_code": "basic-monthly"}
    await stage.publish("subscription.requested.v1", body)


async def _statuses(stage: SystemDriver, subscription_id: str) -> list[str]:
    held = await stage.sandbox.records("billing", "subscriptions")
    return [s["status"] for s in held if s.get("reference_id") == subscription_id]


async def _phone_is(stage: SystemDriver, user_id: str, phone: str) -> None:
    await _held(stage, user_id, f"{phone} of {user_id}", "phone", "Phone", phone)


async def _change_something(stage: SystemDriver, user_id: str) -> None:
    """A command after all others: once it is at Zoho, nothing of this user is on its way."""
    await stage.publish("user.updated.v1", {"user_id": user_id, "full_name": "Fina Lly"})
    await _held(stage, user_id, f"last name of {user_id}", "display_name", "Last_Name", "Lly")


async def _held(
    stage: SystemDriver, user_id: str, what: str, of_customer: str, of_contact: str, ending: str
) -> None:
    """Billing's customer and CRM's contact have a field that ends so, now or soon."""

    def like(email: str, field: str, thing: Json) -> bool:
        return thing[email] == email_of(user_id) and str(thing.get(field)).endswith(ending)

    await stage.zoho("billing", "customers", what, partial(like, "email", of_customer))
    await stage.zoho("crm", "contacts", what, partial(like, "Email", of_contact))
