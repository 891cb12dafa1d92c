"""A user's contact in CRM says nothing of the user after an erasure, and nothing brings it back."""

from __future__ import annotations

import asyncpg
import pytest

from deploy.driving.system_driver import SystemDriver
from services.crm_worker import app
from services.zoho_sandbox.driver import Json
from tests.crm_worker.conftest import settings
from tests.crm_worker.contacts import ADA, contact, subscription_changed, tags
from tests.kit.surroundings import Surroundings

NOTE: Json = {
    "user_id": "u1",
    "interaction_id": "i1",
    "title": "A call",
    "content": "Ada Lace asked for a discount.",
}


async def erased(stage: SystemDriver, user_id: str = "u1") -> Json:
    """Erase the user. Returns CRM's part of the receipt."""
    await stage.publish("user.erasure_requested.v1", {"user_id": user_id})
    receipt = await stage.event("user.erased.v1", user_id=user_id)
    return dict(receipt["parts"][0])


async def signed_up(stage: SystemDriver, **more: str) -> Json:
    user = {**ADA, **more}
    await stage.publish("user.signed_up.v1", user)
    await stage.event("contact.synced.v1", user_id=user["user_id"])
    return await contact(stage, Email=user["email"])


async def test_the_contact_is_emptied_with_its_notes_and_tags(crm: SystemDriver) -> None:
    await signed_up(crm, phone="+4930123456")
    await crm.publish("interaction.recorded.v1", NOTE)
    await crm.zoho("crm", "notes", "note", lambda note: note["Note_Title"] == "A call")

    part = await erased(crm)

    (left,) = await crm.sandbox.records("crm", "contacts")
    assert left["Tag"] == []
    assert left["Email"] is None
    assert left["Last_Name"].startswith("Erased user")
    for known in ("ada@example.com", "Lace", "30123456", "u1"):
        assert known not in str({**left, "id": ""})
    assert await crm.sandbox.records("crm", "notes") == []
    counts = {each["what"]: each["count"] for each in part["erased"]}
    assert counts == {"note": 1, "tags of the contact": 1, "contact": 1}


async def test_notes_that_the_company_keeps_are_named(around: Surroundings) -> None:
    chosen = settings(around, crm_erasure_notes="keep")
    async with around.running(app.main, chosen, queue="crm-worker.intake.events") as crm:
        await signed_up(crm)
        await crm.publish("interaction.recorded.v1", NOTE)
        await crm.zoho("crm", "notes", "note", lambda note: note["Note_Title"] == "A call")

        part = await erased(crm)

        assert len(await crm.sandbox.records("crm", "notes")) == 1
        kept = {each["what"]: each for each in part["kept"]}
        assert (kept["note"]["count"], kept["note"]["reason"]) == (1, "kept by configuration")


async def test_all_notes_that_the_company_keeps_are_counted(around: Surroundings) -> None:
    chosen = settings(around, crm_erasure_notes="keep")
    async with around.running(app.main, chosen, queue="crm-worker.intake.events") as crm:
        held = await signed_up(crm)
        parent = {"id": held["id"], "module": {"api_name": "Contacts"}}
        notes = [
            {"id": f"48760000{number:010}", "Note_Content": "Called.", "Parent_Id": parent}
            for number in range(401)
        ]
        await crm.sandbox.load({"crm": {"notes": notes}})

        part = await erased(crm)

        (kept,) = [each for each in part["kept"] if each["what"] == "note"]
        assert (kept["count"], kept["reason"]) == (401, "kept by configuration")


async def test_later_events_and_commands_of_the_user_change_nothing(
    crm: SystemDriver, database: asyncpg.Connection
) -> None:
    await signed_up(crm)
    await erased(crm)
    before = await crm.sandbox.records("crm", "contacts")

    await subscription_changed(crm, "u1", "Paid Tier", version=9)
    await crm.publish("user.signed_up.v1", ADA, message_id="again")
    await crm.publish("interaction.recorded.v1", NOTE, message_id="note")
    for message_id in ("again", "note"):
        failed = await crm.event("command.failed.v1", message_id=message_id)
        assert failed["code"] == "erased"
    await signed_up(crm, user_id="u2", email="last@example.com")
    # It lies in the queue behind the event of the erased user, which is handled before it.
    await subscription_changed(crm, "u2", "Paid Tier", version=9)
    await crm.zoho(
        "crm", "contacts", "the other user's tier", lambda each: "Paid Tier" in tags(each)
    )

    after = await crm.sandbox.records("crm", "contacts")
    assert [each for each in after if each["Email"] != "last@example.com"] == before
    assert not await database.fetchval("SELECT count(*) FROM crm.contacts WHERE user_id = 'u1'")


@pytest.mark.parametrize("way", ["by a query", "by a search"])
async def test_what_a_lost_answer_has_made_is_found_and_emptied(
    crm: SystemDriver, way: str
) -> None:
    await crm.sandbox.fault("crm", "reset_after", operation="POST /Contacts/upsert")
    await crm.publish("user.signed_up.v1", ADA)
    await contact(crm, Email=ADA["email"])
    if way == "by a query":
        await crm.sandbox.set_lag(crm=3600.0)  # of searches
    else:
        await crm.sandbox.fault("crm", "status:400", operation="coql")

    await erased(crm)

    (left,) = await crm.sandbox.records("crm", "contacts")
    assert left["Email"] is None
    assert "Lace" not in str(left)


async def test_a_user_who_waited_for_the_email_gets_it(crm: SystemDriver) -> None:
    await signed_up(crm)
    await crm.publish("user.signed_up.v1", {**ADA, "user_id": "u2", "full_name": "Ada Two"})
    failed = await crm.event("command.failed.v1", code="email_of_another_user")
    assert failed["service"] == "crm-worker"

    await erased(crm)

    await crm.event("contact.synced.v1", user_id="u2")
    emptied, new = await crm.sandbox.records("crm", "contacts")
    assert (emptied["Email"], new["Email"]) == (None, ADA["email"])


@pytest.mark.parametrize("kind", ["status:500", "reset_after", "reset_before"])
async def test_a_product_that_gives_no_answer_is_asked_again(crm: SystemDriver, kind: str) -> None:
    await signed_up(crm)
    await crm.sandbox.fault("crm", kind, operation="PUT /Contacts/", times=2)

    await erased(crm)

    (left,) = await crm.sandbox.records("crm", "contacts")
    assert left["Email"] is None


async def test_what_crm_refuses_to_the_end_is_named_and_not_counted(crm: SystemDriver) -> None:
    await signed_up(crm)
    await crm.sandbox.fault("crm", "status:400", operation="PUT /Contacts/")

    part = await erased(crm)

    assert "contact" not in {each["what"] for each in part["erased"]}
    kept = {each["what"]: each["reason"] for each in part["kept"]}
    assert "refused" in kept["contact"]
