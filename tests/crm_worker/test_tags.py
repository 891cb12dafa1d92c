"""Test that a contact has the tags of its tier, and those of staff."""

from __future__ import annotations

import asyncpg

from deploy.driving.system_driver import SystemDriver
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
