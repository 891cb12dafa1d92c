"""Test that a contact has the tags of its tier, and those of staff."""

from __future__ import annotations

import asyncio
import itertools

import asyncpg

from deploy.driving.system_driver import SystemDriver
from services.zoho_sandbox.driver import Json
from tests.crm_worker.contacts import (
    ADA,
    contact,
    contact_of_staff,
    subscription_changed,
    tags,
    until,
    until_synced,
)

FREE = {"App User", "Active", "Free Tier"}
PAID = {"App User", "Active", "Paid Tier"}
TIERS = {"Free Tier", "Trial", "Paid Tier", "Churned"}
STAFFS = [{"name": f"staff {number}"} for number in range(10)]


async def test_a_lost_answer_leaves_no_second_tier_when_the_tier_is_back_before_the_retry(
    crm: SystemDriver, database: asyncpg.Connection
) -> None:
    await crm.publish("user.signed_up.v1", ADA)
    await crm.event("contact.synced.v1", user_id="u1")
    await crm.sandbox.fault("crm", "reset_after", operation="add_tags", times=1)
    await subscription_changed(crm, "u1", "Paid Tier", 1)
    await until(database, "SELECT failures FROM crm.contacts", 1)
    assert {"Paid Tier", "Free Tier"} <= tags(await contact(crm, App_User_Id="u1"))

    await subscription_changed(crm, "u1", "Free Tier", 2)
    await until(database, "SELECT tier_version::int FROM crm.contacts", 2)
    await until_synced(database)

    assert tags(await contact(crm, App_User_Id="u1")) == FREE


async def test_a_churned_user_is_not_active_until_a_tier_is_back(crm: SystemDriver) -> None:
    await crm.publish("user.signed_up.v1", ADA)
    await crm.event("contact.synced.v1", user_id="u1", tier="Free Tier")

    await subscription_changed(crm, "u1", "Churned", 1)
    churned = await crm.event("contact.synced.v1", user_id="u1", tier="Churned")
    assert tags(await contact(crm, App_User_Id="u1")) == {"App User", "Churned"}
    await subscription_changed(crm, "u1", "Paid Tier", 2)
    await crm.event("contact.synced.v1", user_id="u1", tier="Paid Tier")

    assert set(churned["tags"]) == {"App User", "Churned"}
    assert tags(await contact(crm, App_User_Id="u1")) == PAID


async def test_the_place_of_the_former_tier_is_enough_for_the_next_one(crm: SystemDriver) -> None:
    await crm.publish("user.signed_up.v1", ADA)
    await crm.event("contact.synced.v1", user_id="u1")
    ours = await contact(crm, App_User_Id="u1")
    await crm.sandbox.contact(ours["id"], "edit", Tag=[*ours["Tag"], *STAFFS[:7]])

    await subscription_changed(crm, "u1", "Paid Tier", 1)

    event = await crm.event("contact.synced.v1", user_id="u1", tier="Paid Tier")
    assert set(event["tags"]) == PAID
    assert tags(await contact(crm, App_User_Id="u1")) == PAID | {tag["name"] for tag in STAFFS[:7]}


async def test_the_next_tier_is_added_before_the_former_one_is_removed(crm: SystemDriver) -> None:
    await crm.publish("user.signed_up.v1", ADA)
    await crm.event("contact.synced.v1", user_id="u1")
    before = (await crm.sandbox.requests(product="crm"))[-1]["id"]

    await subscription_changed(crm, "u1", "Paid Tier", 1)

    await crm.event("contact.synced.v1", user_id="u1", tier="Paid Tier")
    calls = await crm.sandbox.requests(product="crm", since=before)
    assert [call["operation"] for call in calls][-2:] == ["add_tags", "remove_tags"]


async def test_what_does_not_fit_beside_the_tags_of_staff_is_tried_again(
    crm: SystemDriver, database: asyncpg.Connection
) -> None:
    full = await contact_of_staff(crm, ADA["email"])
    await crm.sandbox.contact(full["id"], "edit", Tag=STAFFS)
    await crm.publish("user.signed_up.v1", ADA)
    none_fits = await crm.event("contact.synced.v1", user_id="u1")
    assert none_fits["tags"] == []
    assert tags(await contact(crm, App_User_Id="u1")) == {tag["name"] for tag in STAFFS}

    await crm.sandbox.contact(full["id"], "edit", Tag=STAFFS[:8])
    await make_retag_due(database)
    some = await crm.event("contact.synced.v1", user_id="u1", version=2)
    await make_retag_due(database)
    await until(database, "SELECT retags FROM crm.contacts", 3)
    await crm.sandbox.contact(full["id"], "edit", Tag=STAFFS[:2])
    await make_retag_due(database)
    whole = await crm.event("contact.synced.v1", user_id="u1", version=3)

    assert some["tags"] == ["Free Tier", "App User"]  # the most important that fit
    assert set(whole["tags"]) == FREE
    assert tags(await contact(crm, App_User_Id="u1")) == FREE | {"staff 0", "staff 1"}
    assert await database.fetchval("SELECT retag_at FROM crm.contacts") is None


async def make_retag_due(database: asyncpg.Connection) -> None:
    await database.execute("UPDATE crm.contacts SET retag_at = now() WHERE retag_at IS NOT NULL")


async def test_a_new_contact_carries_its_tags_from_the_start(crm: SystemDriver) -> None:
    await crm.sandbox.fault("crm", "hold_after", operation="POST /Contacts/upsert", times=1)

    await crm.publish("user.signed_up.v1", ADA)
    await crm.sandbox.wait_until_held("crm")

    assert tags(await contact(crm, App_User_Id="u1")) == {"App User", "Active", "Free Tier"}
    await crm.sandbox.clear_faults()
    await crm.event("contact.synced.v1", user_id="u1")
    assert await crm.sandbox.requests(product="crm", operation="add_tags") == []


async def test_the_tags_of_staff_on_a_contact_that_was_there_already_stay(
    crm: SystemDriver,
) -> None:
    made = await contact_of_staff(crm, ADA["email"])
    await crm.sandbox.contact(made["id"], "edit", Tag=["VIP"])

    await crm.publish("user.signed_up.v1", ADA)

    await crm.event("contact.synced.v1", user_id="u1")
    held = await contact(crm, App_User_Id="u1")
    assert held["id"] == made["id"]
    assert tags(held) == {"VIP", "App User", "Active", "Free Tier"}


async def test_tags_that_a_full_module_refuses_do_not_cost_the_contact(crm: SystemDriver) -> None:
    row = {
        "code": "LIMIT_EXCEEDED",
        "details": {"api_name": "Tag"},
        "message": "",
        "status": "error",
    }
    for operation in ("upsert_records", "add_tags"):
        await crm.sandbox.post(
            "faults",
            product="crm",
            operation=operation,
            kind="answer",
            status=400,
            body={"data": [row]},
            times=1,
        )

    await crm.publish("user.signed_up.v1", ADA)

    event = await crm.event("contact.synced.v1", user_id="u1")
    assert set(event["tags"]) == tags(await contact(crm, App_User_Id="u1"))


async def test_every_order_of_what_happens_to_a_user_gives_the_same_tags(
    crm: SystemDriver, database: asyncpg.Connection
) -> None:
    """Signed up, subscribed, renewed, cancelled, updated: 120 users, each in another order."""
    orders = [*itertools.permutations(("sign up", "subscribe", "renew", "cancel", "update"))]
    users = [f"u{number}" for number in range(len(orders))]
    await crm.sandbox.load({"crm": {"contacts": [_of_staff(user) for user in users]}})

    async def take_all(user: str, order: tuple[str, ...]) -> None:
        for step in order:
            await _take(crm, user, step)

    await asyncio.gather(*map(take_all, users, orders))

    await until(database, "SELECT count(*) FROM crm.accepted_ids", len(orders) * len(orders[0]))
    await until(database, "SELECT count(*) FROM crm.inbox", 0)
    await until_synced(database)
    held = await crm.sandbox.records("crm", "contacts")
    assert {c["App_User_Id"]: tags(c) for c in held} == {
        user: {"VIP", "App User", "Churned"} for user in users
    }
    assert len(held) == len(users)


def _of_staff(user: str) -> Json:
    staff = {"id": "487600000000000003", "name": "Staff", "email": "staff@example.com"}
    return {
        "id": f"4876000000{int(user[1:]):08}",
        "Email": f"{user}@example.com",
        "Last_Name": "Office",
        "Tag": [{"name": "VIP"}],
        "Created_By": staff,
        "Created_Time": "2026-01-01T00:00:00+00:00",
    }


async def _take(crm: SystemDriver, user: str, step: str) -> None:
    match step:
        case "sign up":
            person = {"email": f"{user}@example.com", "full_name": f"Person {user}"}
            await crm.publish("user.signed_up.v1", {"user_id": user, **person})
        case "update":
            await crm.publish("user.updated.v1", {"user_id": user, "phone": "+49 30 1234567"})
        case "subscribe":
            await subscription_changed(crm, user, "Trial", 1)
        case "renew":
            await subscription_changed(crm, user, "Paid Tier", 2)
        case "cancel":
            await subscription_changed(crm, user, "Churned", 3)


async def test_after_every_flush_a_contact_has_exactly_one_tier(crm: SystemDriver) -> None:
    await crm.publish("user.signed_up.v1", ADA)
    seen = [await crm.event("contact.synced.v1", tier="Free Tier")]
    for version, tier in enumerate(("Trial", "Paid Tier", "Churned", "Free Tier"), start=1):
        await subscription_changed(crm, "u1", tier, version)
        seen.append(
            await crm.event("contact.synced.v1", tier=tier, version=seen[-1]["version"] + 1)
        )

        held = tags(await contact(crm, App_User_Id="u1"))
        assert held & TIERS == {tier}
        assert held == set(seen[-1]["tags"])


async def test_a_query_that_crm_refuses_costs_no_contact(crm: SystemDriver) -> None:
    body = {"code": "INVALID_QUERY", "details": {}, "message": "", "status": "error"}
    await crm.sandbox.post(
        "faults", product="crm", operation="coql", kind="answer", status=400, body=body
    )

    await crm.publish("user.signed_up.v1", ADA)

    await crm.event("contact.synced.v1", user_id="u1")
    assert tags(await contact(crm, App_User_Id="u1")) == FREE
