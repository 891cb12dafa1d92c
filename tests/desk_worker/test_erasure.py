"""Desk says nothing of a user after an erasure, or names what the company keeps."""

from __future__ import annotations

import asyncpg
import pytest

from services.desk_worker import app
from services.zoho_sandbox.driver import Json
from tests.desk_worker.conftest import QUEUE, Desk, escalation, settings
from tests.kit.surroundings import Surroundings


async def erased(desk: Desk, user_id: str = "u1") -> Json:
    """Erase the user. Returns Desk's part of the receipt."""
    await desk.stage.publish("user.erasure_requested.v1", {"user_id": user_id})
    receipt = await desk.stage.event("user.erased.v1", user_id=user_id)
    return dict(receipt["parts"][0])


def counts_in(part: Json) -> dict[str, int]:
    return {each["what"]: each["count"] for each in part["erased"]}


async def contacts(desk: Desk) -> list[Json]:
    return await desk.stage.sandbox.records("desk", "contacts")


async def test_tickets_go_to_the_bin_without_text_and_the_contact_is_empty(desk: Desk) -> None:
    ticket = await desk.escalate()
    await desk.staff(ticket, "comment", content="Ada was charged twice.")
    await desk.staff(ticket, "attach", name="ada.png")

    part = await erased(desk)

    (ticket,), (contact,) = await desk.tickets(), await contacts(desk)
    assert ticket["isTrashed"] is True
    assert (ticket["subject"], ticket["description"]) == ("Erased", "Erased")
    assert "ada@example.com" not in str([ticket, contact])
    assert contact["lastName"].startswith("Erased user")
    assert await desk.comments() == []
    assert await desk.stage.sandbox.records("desk", "attachments") == []
    assert counts_in(part) == {"comment": 1, "attachment": 1, "ticket": 1, "contact": 1}
    (kept,) = [each for each in part["kept"] if each["what"] == "ticket"]
    assert kept["ids"] == ["e1"]


async def test_tickets_that_the_company_keeps_are_named_and_the_contact_is_empty(
    around: Surroundings,
) -> None:
    chosen = settings(around, desk_erasure_tickets="keep")
    async with around.running(app.main, chosen, queue=QUEUE) as stage:
        desk = Desk(stage, around.environment["database_url"])
        await desk.escalate()

        part = await erased(desk)

        (ticket,), (contact,) = await desk.tickets(), await contacts(desk)
        assert ticket["subject"] == "Charged twice"
        assert contact["email"] != "ada@example.com"
        (kept,) = [each for each in part["kept"] if each["what"] == "ticket"]
        assert (kept["ids"], kept["reason"][:21]) == (["e1"], "kept by configuration")
        assert counts_in(part) == {"contact": 1}


async def test_tickets_of_the_same_address_that_named_no_user_are_erased_too(desk: Desk) -> None:
    await desk.escalate()
    await desk.escalate(escalation_id="e2", user_id=None)
    connection = await asyncpg.connect(desk.database_url)

    part = await erased(desk)

    assert counts_in(part)["ticket"] == 2
    assert [ticket["isTrashed"] for ticket in await desk.tickets()] == [True, True]
    assert not await connection.fetchval("SELECT count(*) FROM desk.escalations")
    assert not await connection.fetchval("SELECT count(*) FROM desk.blind_index")
    assert not await connection.fetchval("SELECT count(*) FROM relay.effects")
    lines = await connection.fetch("SELECT DISTINCT line FROM desk.names")
    assert [row["line"] for row in lines] == ["user:u1"]  # no digest of the email
    await connection.close()


async def test_what_comes_about_such_a_ticket_later_ends_as_erased(desk: Desk) -> None:
    await desk.escalate()
    await desk.escalate(escalation_id="e2", user_id=None)
    await erased(desk)

    await desk.stage.publish(
        "support.close_requested.v1", {"escalation_id": "e2"}, message_id="late"
    )

    failed = await desk.stage.event("command.failed.v1", message_id="late")
    assert failed["code"] == "erased"


@pytest.mark.parametrize("others", [[], ["u2"]])
async def test_a_dead_letter_of_the_address_goes_unless_another_user_has_it_too(
    desk: Desk, others: list[str]
) -> None:
    await desk.escalate()
    for user_id in others:
        await desk.escalate(escalation_id=f"e-{user_id}", user_id=user_id)
    again = escalation(user_id=None, subject="Another one")
    await desk.stage.publish("support.escalated.v1", again, message_id="given up")
    failed = await desk.stage.event("command.failed.v1", message_id="given up")
    assert failed["code"] == "id_taken"

    await erased(desk)

    connection = await asyncpg.connect(desk.database_url)
    left = await connection.fetchval("SELECT count(*) FROM desk.dead_letters")
    await connection.close()
    assert left == len(others)


async def test_a_contact_that_another_user_has_too_stays_and_is_named(desk: Desk) -> None:
    await desk.escalate()
    await desk.escalate(escalation_id="e2", user_id="u2")

    part = await erased(desk)

    (contact,) = await contacts(desk)
    assert contact["email"] == "ada@example.com"
    assert await trashed(desk) == {"e1": True, "e2": False}
    reasons = {each["what"]: each["reason"] for each in part["kept"]}
    assert reasons["contact"] == "another user has the same email"


async def test_a_ticket_of_which_the_answer_was_lost_is_found_and_erased(desk: Desk) -> None:
    await desk.stage.sandbox.fault("desk", "reset_after", operation="POST /tickets", times=1)
    await desk.stage.publish("support.escalated.v1", escalation())
    await desk.ticket()

    await erased(desk)

    (ticket,), (contact,) = await desk.tickets(), await contacts(desk)
    assert ticket["isTrashed"] is True
    assert contact["email"] != "ada@example.com"


@pytest.mark.parametrize("fallback", ["Unknown@Example.com", "unknown@example.com"])
async def test_the_contact_that_stands_for_many_and_its_tickets_stay(
    around: Surroundings, fallback: str
) -> None:
    chosen = settings(around, desk_fallback_email=fallback)
    async with around.running(app.main, chosen, queue=QUEUE) as stage:
        desk = Desk(stage, around.environment["database_url"])
        await desk.escalate(email="a..b@example.com")
        await desk.escalate(escalation_id="e2", user_id="u2", email="c..d@example.com")
        await forget_the_commit_of_e1(desk)

        await erased(desk)

        (contact,) = await contacts(desk)
        assert contact["email"] == fallback
        assert await trashed(desk) == {"e1": True, "e2": False}


async def test_a_contact_to_whom_staff_gave_a_ticket_stays_with_its_other_tickets_and_is_named(
    desk: Desk,
) -> None:
    ticket = await desk.escalate()
    other = await desk.escalate(escalation_id="e2", user_id=None, email="bob@example.com")
    await desk.staff(ticket, "edit", contactId=other["contactId"])
    await forget_the_commit_of_e1(desk)

    part = await erased(desk)

    assert "bob@example.com" in [contact["email"] for contact in await contacts(desk)]
    assert await trashed(desk) == {"e1": True, "e2": False}
    (kept,) = [each for each in part["kept"] if each["what"] == "contact"]
    assert "not known to be the user" in kept["reason"]


async def forget_the_commit_of_e1(desk: Desk) -> None:
    """Leave what there is when the worker dies before its commit: only the journal knows it."""
    connection = await asyncpg.connect(desk.database_url)
    await connection.execute(
        """
        DELETE FROM desk.escalations WHERE escalation_id = 'e1';
        DELETE FROM desk.blind_index WHERE kind = 'ticket' AND row = 'e1';
        """
    )
    await connection.close()


async def trashed(desk: Desk) -> dict[str, bool]:
    """By escalation, whether its ticket is in the recycle bin."""
    return {t["cf"]["cf_app_escalation_id"]: t["isTrashed"] for t in await desk.tickets()}


async def test_a_webhook_of_an_erased_ticket_announces_and_watches_nothing(desk: Desk) -> None:
    ticket = await desk.escalate()
    await erased(desk)
    known = len(desk.stage.events)

    for event in ("Ticket_Update", "Ticket_Delete", "Ticket_Add"):
        await desk.post_webhook(ticket, event)
    await desk.settle()

    # Adopted, the ticket would have another id of ours. Only that of `settle` has a marker.
    announced = [key for key, body in desk.stage.events[known:] if "marker-" not in str(body)]
    assert announced == []
    connection = await asyncpg.connect(desk.database_url)
    assert not await connection.fetchval(
        "SELECT count(*) FROM desk.escalations WHERE escalation_id NOT LIKE 'marker-%'"
    )
    await connection.close()


async def test_an_escalation_of_the_user_after_it_ends_as_erased(desk: Desk) -> None:
    await desk.escalate()
    await erased(desk)

    await desk.stage.publish(
        "support.escalated.v1", escalation(escalation_id="e2"), message_id="late"
    )

    failed = await desk.stage.event("command.failed.v1", message_id="late")
    assert failed["code"] == "erased"
    assert len(await desk.tickets()) == 1


@pytest.mark.parametrize("kind", ["reset_after", "status:500"])
async def test_a_lost_answer_in_the_middle_changes_nothing_of_the_end(
    desk: Desk, kind: str
) -> None:
    ticket = await desk.escalate()
    await desk.staff(ticket, "comment", content="Ada was charged twice.")
    for operation in ("delete_comment", "update_ticket", "trash_tickets", "update_contact"):
        await desk.stage.sandbox.fault("desk", kind, operation=operation, times=1)

    part = await erased(desk)

    assert counts_in(part) == {"comment": 1, "ticket": 1, "contact": 1}
