"""Test how crm-worker brings sign-ups, updates and tiers to CRM."""

from __future__ import annotations

import asyncpg
import pytest

from deploy.driving.system_driver import SystemDriver
from services.crm_worker import app
from tests.crm_worker.conftest import settings
from tests.crm_worker.contacts import ADA, contact, subscription_changed, tags, until
from tests.kit.surroundings import Surroundings


async def test_a_sign_up_becomes_a_tagged_contact(crm: SystemDriver) -> None:
    await crm.publish("user.signed_up.v1", {**ADA, "phone": "+49 30 1234567"})

    event = await crm.event("contact.synced.v1", user_id="u1")

    held = await contact(crm, App_User_Id="u1")
    assert (held["First_Name"], held["Last_Name"]) == ("Ada B.", "Lace")
    assert held["Phone"] == "+49 30 1234567"
    assert tags(held) == {"App User", "Active", "Free Tier"} == set(event["tags"])


async def test_a_phone_that_is_no_number_is_left_out_with_a_note(crm: SystemDriver) -> None:
    await crm.publish("user.signed_up.v1", {**ADA, "phone": "call  me // maybe"})

    event = await crm.event("contact.synced.v1", user_id="u1")

    assert event["left_out"] == ["phone"]
    assert (await contact(crm, App_User_Id="u1"))["Phone"] is None


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("925-921-9201 #123", "925-921-9201 x123"),
        ("\u202a+49 30 1234567\u202c", "+49 30 1234567"),
        ("tel:+1-925-921-9201", "+1-925-921-9201"),
        ("٠٣٠ ١٢٣٤", "030 1234"),
    ],
)
async def test_a_phone_as_people_write_it_is_normalized(
    crm: SystemDriver, written: str, kept: str
) -> None:
    await crm.publish("user.signed_up.v1", {**ADA, "phone": written})

    event = await crm.event("contact.synced.v1", user_id="u1")

    assert event["left_out"] == []
    assert (await contact(crm, App_User_Id="u1"))["Phone"] == kept


async def test_a_person_without_a_name_gets_the_part_before_the_at(crm: SystemDriver) -> None:
    await crm.publish("user.signed_up.v1", {"user_id": "u1", "email": "ada@example.com"})

    await crm.event("contact.synced.v1", user_id="u1")

    assert (await contact(crm, App_User_Id="u1"))["Last_Name"] == "ada"


async def test_an_update_changes_the_contact_even_its_email(crm: SystemDriver) -> None:
    await crm.publish("user.signed_up.v1", {**ADA, "phone": "030 123"})
    await crm.event("contact.synced.v1", user_id="u1")

    await crm.publish(
        "user.updated.v1", {"user_id": "u1", "email": "lace@example.com", "phone": None}
    )

    held = await contact(crm, "contact with the new email", Email="lace@example.com")
    assert (held["Phone"], held["Last_Name"]) == (None, "Lace")
    assert len(await crm.sandbox.records("crm", "contacts")) == 1


async def test_without_a_field_of_ours_a_changed_email_still_makes_no_second_contact(
    around: Surroundings,
) -> None:
    by_email = settings(around, zoho_crm_user_field=None)
    async with around.running(app.main, by_email, queue="crm-worker.intake.events") as crm:
        await crm.publish("user.signed_up.v1", ADA)
        await crm.event("contact.synced.v1", user_id="u1")

        await crm.publish("user.updated.v1", {"user_id": "u1", "email": "lace@example.com"})

        await contact(crm, "contact with the new email", Email="lace@example.com")
        assert len(await crm.sandbox.records("crm", "contacts")) == 1


async def test_an_update_that_overtakes_its_sign_up_wins(crm: SystemDriver) -> None:
    await crm.publish("user.updated.v1", {"user_id": "u1", "first_name": "Augusta"})
    await crm.publish("user.signed_up.v1", ADA)

    held = await contact(crm, "contact with the updated name", First_Name="Augusta")

    assert held["Last_Name"] == "Lace"


async def test_the_tier_of_the_highest_version_wins_in_whatever_order_they_come(
    crm: SystemDriver,
) -> None:
    await crm.publish("user.signed_up.v1", ADA)
    await crm.event("contact.synced.v1", user_id="u1")

    await subscription_changed(crm, "u1", "Paid Tier", 3)
    await crm.event("contact.synced.v1", user_id="u1", tier="Paid Tier")
    await subscription_changed(crm, "u1", "Trial", 2)
    await subscription_changed(crm, "u1", "Churned", 4)

    await crm.event("contact.synced.v1", user_id="u1", tier="Churned")
    assert tags(await contact(crm, App_User_Id="u1")) == {"App User", "Churned"}
    assert not [b for k, b in crm.events if b.get("tier") == "Trial" and k == "contact.synced.v1"]


async def test_tags_that_staff_set_stay(crm: SystemDriver) -> None:
    await crm.publish("user.signed_up.v1", ADA)
    await crm.event("contact.synced.v1", user_id="u1")
    held = await contact(crm, App_User_Id="u1")
    await crm.sandbox.contact(held["id"], "edit", Tag=[*held["Tag"], {"name": "VIP"}])

    await subscription_changed(crm, "u1", "Paid Tier", 1)

    await crm.event("contact.synced.v1", user_id="u1", tier="Paid Tier")
    assert tags(await contact(crm, App_User_Id="u1")) == {
        "App User", "Active", "Paid Tier", "VIP",
    }  # fmt: skip


async def test_many_changes_cost_few_calls(crm: SystemDriver) -> None:
    for n in range(20):
        user = {"user_id": f"u{n}", "email": f"u{n}@example.com", "full_name": f"No {n}"}
        await crm.publish("user.signed_up.v1", user)
    for n in range(20):
        await crm.event("contact.synced.v1", user_id=f"u{n}")

    upserts = await crm.sandbox.requests(product="crm", operation="upsert_records")
    assert sum(len(r["body"]["data"]) for r in upserts) == 20
    assert all(len(r["body"]["data"]) <= 10 for r in upserts)


async def test_a_lost_answer_makes_no_second_contact(crm: SystemDriver) -> None:
    await crm.sandbox.fault("crm", "reset_after", operation="upsert_records", times=1)

    await crm.publish("user.signed_up.v1", ADA)

    await crm.event("contact.synced.v1", user_id="u1")
    assert len(await crm.sandbox.records("crm", "contacts")) == 1


async def test_an_interaction_becomes_one_note(crm: SystemDriver) -> None:
    await crm.publish("user.signed_up.v1", ADA)
    await crm.event("contact.synced.v1", user_id="u1")

    for _ in range(3):
        await crm.publish(
            "interaction.recorded.v1",
            {"user_id": "u1", "interaction_id": "i1", "title": "Call", "content": "Said hello"},
        )

    note = await crm.zoho("crm", "notes", "note", lambda n: n["Note_Title"] == "Call")
    assert note["Note_Content"] == "Said hello\n\nref i1"
    assert len(await crm.sandbox.records("crm", "notes")) == 1


async def test_a_lost_answer_makes_no_second_note(
    around: Surroundings, database: asyncpg.Connection
) -> None:
    soon = settings(around, effect_write_s=0.5, effect_timeout_s=0.5, settle_factor=0.01)
    async with around.running(app.main, soon, queue="crm-worker.intake.events") as crm:
        await crm.publish("user.signed_up.v1", ADA)
        await crm.event("contact.synced.v1", user_id="u1")
        held = await contact(crm, App_User_Id="u1")
        parent = {"id": held["id"], "module": {"api_name": "Contacts"}}
        # CRM lists the oldest first, 200 on a page.
        of_staff = [
            {"id": f"48760000{number:010}", "Note_Content": "Called.", "Parent_Id": parent}
            for number in range(200)
        ]
        await crm.sandbox.load({"crm": {"notes": of_staff}})
        await crm.sandbox.fault("crm", "reset_after", operation="create_notes", times=1)

        await crm.publish(
            "interaction.recorded.v1",
            {"user_id": "u1", "interaction_id": "i1", "title": "Call", "content": "Said hello"},
        )

        await crm.sandbox.wait_for_request("crm", "get_notes")
        await until(database, "SELECT count(*)::int FROM crm.inbox", 0)
        assert len(await crm.sandbox.records("crm", "notes")) == len(of_staff) + 1


async def test_a_change_that_comes_while_its_contact_is_being_sent_is_sent_too(
    crm: SystemDriver, database: asyncpg.Connection
) -> None:
    await crm.sandbox.fault("crm", "hold", operation="upsert_records", times=1)
    await crm.publish("user.signed_up.v1", ADA)
    await crm.sandbox.wait_until_held("crm", "upsert_records")
    await crm.publish("user.updated.v1", {"user_id": "u1", "last_name": "Byron"})
    await until(database, "SELECT wanted_version::int FROM crm.contacts", 2)

    await crm.sandbox.clear_faults()

    await contact(crm, "contact with the updated name", Last_Name="Byron")
    assert len(await crm.sandbox.records("crm", "contacts")) == 1
