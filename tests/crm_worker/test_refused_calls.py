"""Test that a call which CRM refuses as a whole costs only the contact because of which it is."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from deploy.driving.system_driver import SystemDriver
from services.zoho_sandbox.driver import Json
from tests.crm_worker.contacts import bring_forward, contact_of_staff, until

FIRST, CULPRIT = "first@example.com", "culprit@example.com"
PAGE = "<html><body>We are sorry</body></html>"


async def sign_up_as_one_batch(
    crm: SystemDriver, database: asyncpg.Connection, **refusal: Any
) -> None:
    """Sign up ten users while the flusher is held with another one, so that they are one batch.

    `refusal`: CRM's answer to each call with the culprit.
    """
    await crm.sandbox.fault("crm", "hold", operation="POST /Contacts/upsert", body_contains=FIRST)
    await crm.publish(
        "user.signed_up.v1", {"user_id": "first", "email": FIRST, "full_name": "First"}
    )
    await crm.sandbox.wait_until_held("crm")
    for number in range(10):
        email = CULPRIT if number == 4 else f"u{number}@example.com"
        await crm.publish(
            "user.signed_up.v1",
            {"user_id": f"u{number}", "email": email, "full_name": f"No {number}"},
            message_id=f"m{number}",
        )
    await until(database, "SELECT count(*) FROM crm.contacts", 11)
    if refusal:
        await crm.sandbox.post(
            "faults",
            product="crm",
            operation="upsert_records",
            kind="answer",
            body_contains=CULPRIT,
            **refusal,
        )
    await crm.sandbox.post("faults", product="crm", operation="POST /Contacts/upsert", kind="none")


async def emails(crm: SystemDriver) -> set[str]:
    return {contact["Email"] for contact in await crm.sandbox.records("crm", "contacts")}


def failures(crm: SystemDriver) -> list[Json]:
    return [body for key, body in crm.events if key == "command.failed.v1"]


async def test_ten_contacts_that_wait_together_are_one_call(
    crm: SystemDriver, database: asyncpg.Connection
) -> None:
    await sign_up_as_one_batch(crm, database)

    for number in range(10):
        await crm.event("contact.synced.v1", user_id=f"u{number}")

    upserts = await crm.sandbox.requests(product="crm", operation="upsert_records")
    assert [len(call["body"]["data"]) for call in upserts] == [1, 10]


@pytest.mark.parametrize("code", ["PATTERN_NOT_MATCHED", "INVALID_DATA", "A_CODE_NOBODY_KNOWS"])
async def test_the_others_of_a_refused_call_are_sent_and_the_culprit_is_given_up(
    crm: SystemDriver, database: asyncpg.Connection, code: str
) -> None:
    refused = {"code": code, "details": {}, "message": "a sentence of Zoho's", "status": "error"}
    await sign_up_as_one_batch(crm, database, status=400, body=refused)

    failed = await crm.event("command.failed.v1", code="contact_refused")
    for number in {*range(10)} - {4}:
        await crm.event("contact.synced.v1", user_id=f"u{number}")

    assert (failed["message_id"], len(failures(crm))) == ("m4", 1)
    assert failed["reason"] == f"CRM does not take the contact: {code}"
    assert await emails(crm) == {FIRST, *(f"u{n}@example.com" for n in range(10) if n != 4)}


async def refuse_row(crm: SystemDriver, code: str, **details: str) -> None:
    """Have CRM answer so to each row with the culprit's email, and take the others of its call."""
    await crm.sandbox.set_behaviour(refused_rows={CULPRIT: {"code": code, "details": details}})


async def test_one_refused_row_is_given_up_and_the_others_of_its_call_stand(
    crm: SystemDriver, database: asyncpg.Connection
) -> None:
    await refuse_row(crm, "INVALID_DATA", api_name="Email")
    await sign_up_as_one_batch(crm, database)

    failed = await crm.event("command.failed.v1", code="contact_refused")
    for number in {*range(10)} - {4}:
        await crm.event("contact.synced.v1", user_id=f"u{number}")

    assert (failed["message_id"], len(failures(crm))) == ("m4", 1)
    assert failed["reason"] == "CRM does not take the contact: INVALID_DATA in email"
    upserts = await crm.sandbox.requests(product="crm", operation="upsert_records")
    assert [len(call["body"]["data"]) for call in upserts] == [1, 10]


async def test_one_locked_row_is_sent_again_and_the_others_of_its_call_stand(
    crm: SystemDriver, database: asyncpg.Connection
) -> None:
    await refuse_row(crm, "RECORD_LOCKED")
    await sign_up_as_one_batch(crm, database)
    for number in {*range(10)} - {4}:
        await crm.event("contact.synced.v1", user_id=f"u{number}")
    assert CULPRIT not in await emails(crm)

    await crm.sandbox.set_behaviour(refused_rows={})
    await until(database, "SELECT failures > 0 FROM crm.contacts WHERE user_id = 'u4'", True)
    await bring_forward(database, "u4")

    await crm.event("contact.synced.v1", user_id="u4")
    assert failures(crm) == []


@pytest.mark.parametrize("owner", [None, "u1"])
async def test_a_duplicate_is_adopted_when_it_is_nobodys_and_refused_when_it_is_anothers(
    crm: SystemDriver, database: asyncpg.Connection, owner: str | None
) -> None:
    other = await contact_of_staff(crm, "office@example.com")
    if owner:
        await crm.publish(
            "user.signed_up.v1",
            {"user_id": "other", "email": "office@example.com", "full_name": "Other One"},
        )
        await crm.event("contact.synced.v1", user_id="other")
    # Such as the email of a lead that was converted into that contact.
    row = {"code": "DUPLICATE_DATA", "details": {"api_name": "Email", "id": other["id"]}}
    answer = {"data": [{**row, "message": "duplicate data", "status": "error"}]}
    await crm.sandbox.post(
        "faults",
        product="crm",
        operation="upsert_records",
        kind="answer",
        status=400,
        body=answer,
        body_contains=CULPRIT,
    )

    person = {"user_id": "u4", "email": CULPRIT, "full_name": "No 4"}
    await crm.publish("user.signed_up.v1", person, message_id="m4")

    if owner:
        failed = await crm.event("command.failed.v1", code="contact_refused")
        assert failed["message_id"] == "m4"
        assert CULPRIT not in await emails(crm)
    else:
        await crm.event("contact.synced.v1", user_id="u4")
        [held] = await crm.sandbox.records("crm", "contacts")
        assert (held["id"], held["Email"], held["App_User_Id"]) == (other["id"], CULPRIT, "u4")
        assert failures(crm) == []


async def test_a_page_of_html_for_one_contact_costs_the_others_no_more_than_time(
    crm: SystemDriver, database: asyncpg.Connection
) -> None:
    # The front door's page comes to those who call too often, too, and shuts CRM for a while.
    await sign_up_as_one_batch(
        crm, database, status=400, body=PAGE, headers={"Retry-After": "0.01"}
    )

    await crm.event("command.failed.v1", code="contact_refused")
    for number in {*range(10)} - {4}:
        await crm.event("contact.synced.v1", user_id=f"u{number}")

    [failed] = failures(crm)
    assert failed["message_id"] == "m4"
    assert CULPRIT not in await emails(crm)


async def test_a_call_that_is_wrong_whoever_is_in_it_gives_up_no_contact(
    crm: SystemDriver, database: asyncpg.Connection
) -> None:
    wrong = {"code": "INVALID_MODULE", "details": {}, "message": "", "status": "error"}
    await sign_up_as_one_batch(crm, database, status=400, body=wrong)
    await until(database, "SELECT count(*) FROM crm.contacts WHERE failures > 0", 10)

    await crm.sandbox.clear_faults()
    await bring_forward(database, "u4")

    await crm.event("contact.synced.v1", user_id="u4")
    assert failures(crm) == []
