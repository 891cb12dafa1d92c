"""Test that a contact which staff delete or merge is found again, or made anew once, whole."""

from __future__ import annotations

import pytest

from deploy.driving.system_driver import SystemDriver
from services.crm_worker import app
from tests.crm_worker.conftest import settings
from tests.crm_worker.contacts import ADA, contact, contact_of_staff, tags
from tests.kit.surroundings import Surroundings

FREE = {"App User", "Active", "Free Tier"}
CALL = {"user_id": "u1", "interaction_id": "i1", "title": "Call", "content": "Said hello"}


@pytest.mark.parametrize("by_our_field", ["App_User_Id", None])
async def test_a_deleted_contact_is_made_anew_once_and_whole(
    around: Surroundings, by_our_field: str | None
) -> None:
    chosen = settings(around, zoho_crm_user_field=by_our_field)
    async with around.running(app.main, chosen, queue="crm-worker.intake.events") as crm:
        await crm.publish("user.signed_up.v1", ADA)
        await crm.event("contact.synced.v1", user_id="u1")
        deleted = await contact(crm, Email=ADA["email"])
        await crm.sandbox.contact(deleted["id"], "delete")

        await crm.publish("user.updated.v1", {"user_id": "u1", "last_name": "Byron"})

        event = await crm.event("contact.synced.v1", user_id="u1", version=2)
        [made] = await crm.sandbox.records("crm", "contacts")
        assert made["id"] != deleted["id"]
        assert made["Last_Name"] == "Byron"
        assert tags(made) == FREE == set(event["tags"])
        assert not [key for key, _ in crm.events if key == "command.failed.v1"]


async def test_an_interaction_on_a_deleted_contact_becomes_a_note_on_the_new_one(
    crm: SystemDriver,
) -> None:
    await crm.publish("user.signed_up.v1", ADA)
    await crm.event("contact.synced.v1", user_id="u1")
    deleted = await contact(crm, App_User_Id="u1")
    await crm.sandbox.contact(deleted["id"], "delete")

    await crm.publish("interaction.recorded.v1", CALL)

    note = await crm.zoho("crm", "notes", "note", lambda n: n["Note_Title"] == "Call")
    made = await contact(crm, App_User_Id="u1")
    assert note["Parent_Id"]["id"] == made["id"] != deleted["id"]
    assert tags(made) == FREE


async def test_an_interaction_follows_a_merged_contact(crm: SystemDriver) -> None:
    await crm.publish("user.signed_up.v1", ADA)
    await crm.event("contact.synced.v1", user_id="u1")
    ours = await contact(crm, App_User_Id="u1")
    other = await contact_of_staff(crm, "office@example.com")
    await crm.sandbox.contact(ours["id"], "merge", into=other["id"])

    await crm.publish("interaction.recorded.v1", CALL)

    note = await crm.zoho("crm", "notes", "note", lambda n: n["Note_Title"] == "Call")
    [merged] = await crm.sandbox.records("crm", "contacts")
    assert note["Parent_Id"]["id"] == merged["id"] == other["id"]
    assert tags(merged) == FREE


async def test_the_contact_that_ours_was_merged_into_gets_all_fields(crm: SystemDriver) -> None:
    await crm.publish("user.signed_up.v1", {**ADA, "phone": "+49 30 1234567"})
    await crm.event("contact.synced.v1", user_id="u1")
    ours = await contact(crm, App_User_Id="u1")
    other = await contact_of_staff(crm, "office@example.com")
    await crm.sandbox.contact(ours["id"], "merge", into=other["id"])

    await crm.publish("user.updated.v1", {"user_id": "u1", "last_name": "Byron"})

    await crm.event("contact.synced.v1", user_id="u1", version=2)
    [merged] = await crm.sandbox.records("crm", "contacts")
    assert (merged["id"], merged["Last_Name"]) == (other["id"], "Byron")
    assert merged["Email"] == ADA["email"]


async def test_an_interaction_waits_for_a_refused_contact_and_holds_up_nothing(
    crm: SystemDriver,
) -> None:
    await crm.publish("user.signed_up.v1", {**ADA, "email": "ada@example.c0m"})
    await crm.event("command.failed.v1", code="contact_refused")
    await crm.publish("interaction.recorded.v1", CALL)

    await crm.publish("user.updated.v1", {"user_id": "u1", "email": ADA["email"]})

    await crm.event("contact.synced.v1", user_id="u1")
    await crm.zoho("crm", "notes", "note", lambda n: n["Note_Title"] == "Call")


@pytest.mark.parametrize("other", [{"content": "Said goodbye"}, {"title": "Visit"}])
async def test_the_same_interaction_with_other_content_is_refused(
    crm: SystemDriver, other: dict[str, str]
) -> None:
    await crm.publish("user.signed_up.v1", ADA)
    await crm.event("contact.synced.v1", user_id="u1")
    await crm.publish("interaction.recorded.v1", CALL)
    await crm.zoho("crm", "notes", "note", lambda n: n["Note_Title"] == "Call")

    await crm.publish("interaction.recorded.v1", {**CALL, **other}, message_id="m2")

    failed = await crm.event("command.failed.v1", code="id_taken")
    assert failed["message_id"] == "m2"
    assert len(await crm.sandbox.records("crm", "notes")) == 1
