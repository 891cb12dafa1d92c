"""Test contacts that CRM refuses, and emails that two users have."""

from __future__ import annotations

import asyncio
import json
import socket

import aiohttp
import asyncpg
import pytest
from typer.testing import CliRunner

from deploy.driving.system_driver import SystemDriver
from services.crm_worker import app
from services.operator.__main__ import app as zoho_relay
from services.zoho_sandbox.driver import Json
from tests.crm_worker.conftest import settings
from tests.crm_worker.contacts import ADA, contact, until
from tests.kit.surroundings import Surroundings

REFUSED_BY_CRM = "ada@example.c0m"  # no top-level domain of letters
# How much counts of a wait that has lasted for so long.
WAITED_S = """
    SELECT counted_s FROM crm.inbox
    WHERE state = 'fact' AND counted_at > waiting_since + make_interval(secs => {})
"""
EVE: Json = {"user_id": "u2", "email": "ADA@example.com", "full_name": "Eve Other"}


def failures(stage: SystemDriver) -> list[Json]:
    return [body for key, body in stage.events if key == "command.failed.v1"]


async def test_a_refused_contact_is_reported_once_with_the_field_and_the_message(
    crm: SystemDriver,
) -> None:
    await crm.publish("user.signed_up.v1", {**ADA, "email": REFUSED_BY_CRM}, message_id="m1")

    failed = await crm.event("command.failed.v1", code="contact_refused")

    assert (failed["service"], failed["message_id"]) == ("crm-worker", "m1")
    assert failed["routing_key"] == "user.signed_up.v1"
    assert failed["reason"] == "CRM does not take the contact: INVALID_DATA in email"
    await crm.publish("user.signed_up.v1", {**ADA, "user_id": "u3", "email": "x@example.com"})
    await crm.event("contact.synced.v1", user_id="u3")  # the flusher has been round again
    assert len(failures(crm)) == 1


async def test_an_update_that_repairs_a_refused_contact_is_sent(
    crm: SystemDriver, database_url: str
) -> None:
    await crm.publish("user.signed_up.v1", {**ADA, "email": REFUSED_BY_CRM})
    await crm.event("command.failed.v1", code="contact_refused")
    assert await refused(database_url) == 1

    await crm.publish("user.updated.v1", {"user_id": "u1", "email": "ada@example.com"})

    await crm.event("contact.synced.v1", user_id="u1")
    assert (await contact(crm, App_User_Id="u1"))["Email"] == "ada@example.com"
    assert await refused(database_url) == 0


async def test_an_interaction_waits_for_the_update_behind_it_that_repairs_its_contact(
    crm: SystemDriver,
) -> None:
    await crm.publish("user.signed_up.v1", {**ADA, "email": REFUSED_BY_CRM})
    await crm.event("command.failed.v1", code="contact_refused")

    interaction = {"user_id": "u1", "interaction_id": "i1", "title": "Asked", "content": "Why?"}
    await crm.publish("interaction.recorded.v1", interaction)
    await crm.publish("user.updated.v1", {"user_id": "u1", "email": "ada@example.com"})

    await crm.event("contact.synced.v1", user_id="u1")
    await crm.zoho("crm", "notes", "note", lambda n: str(n["Note_Content"]).endswith("ref i1"))
    assert len(failures(crm)) == 1


async def test_an_interaction_whose_contact_nobody_repairs_ends_under_its_own_code(
    around: Surroundings,
) -> None:
    chosen = settings(around, contact_wait_s=1)
    async with around.running(app.main, chosen, queue="crm-worker.intake.events") as crm:
        await crm.publish("user.signed_up.v1", {**ADA, "email": REFUSED_BY_CRM})
        await crm.event("command.failed.v1", code="contact_refused")
        interaction = {"user_id": "u1", "interaction_id": "i1", "title": "Asked", "content": "Why?"}

        await crm.publish("interaction.recorded.v1", interaction, message_id="m2")

        failed = await crm.event("command.failed.v1", message_id="m2")
        assert failed["code"] == "contact_missing"


async def test_an_interaction_is_not_given_up_while_contacts_wanted_before_it_are_to_be_sent(
    around: Surroundings, database: asyncpg.Connection
) -> None:
    await database.execute(
        """
        INSERT INTO crm.contacts (org, user_id, has_email, wanted_version, leased_until)
        VALUES ('default', 'u0', true, 1, 'infinity')
        """
    )
    chosen = settings(around, contact_wait_s=2)
    async with around.running(app.main, chosen, queue="crm-worker.intake.events") as crm:
        await crm.publish("user.signed_up.v1", {**ADA, "email": REFUSED_BY_CRM})
        await crm.event("command.failed.v1", code="contact_refused")
        interaction = {"user_id": "u1", "interaction_id": "i1", "title": "Asked", "content": "Why?"}

        await crm.publish("interaction.recorded.v1", interaction, message_id="m2")

        await until(database, WAITED_S.format(3), 0.0)
        await database.execute("UPDATE crm.contacts SET sent_version = 1 WHERE user_id = 'u0'")
        failed = await crm.event("command.failed.v1", message_id="m2")
        assert failed["code"] == "contact_missing"


async def test_an_optional_field_that_crm_refuses_does_not_cost_the_contact(
    crm: SystemDriver,
) -> None:
    await crm.sandbox.set_behaviour(maximum_lengths={"Phone": 5})
    await crm.publish("user.signed_up.v1", {**ADA, "phone": "030 1234567"})

    event = await crm.event("contact.synced.v1", user_id="u1")

    assert event["left_out"] == ["phone"]

    held = await contact(crm, App_User_Id="u1")
    assert (held["Phone"], held["Last_Name"]) == (None, "Lace")
    assert failures(crm) == []


@pytest.mark.parametrize("by_our_field", ["App_User_Id", None])
async def test_a_second_user_with_the_same_email_does_not_take_the_contact(
    around: Surroundings, by_our_field: str | None
) -> None:
    chosen = settings(around, zoho_crm_user_field=by_our_field)
    async with around.running(app.main, chosen, queue="crm-worker.intake.events") as crm:
        await crm.publish("user.signed_up.v1", ADA)
        await crm.event("contact.synced.v1", user_id="u1")

        await crm.publish("user.signed_up.v1", EVE, message_id="m2")

        failed = await crm.event("command.failed.v1", code="email_of_another_user")
        assert failed["message_id"] == "m2"
        [held] = await crm.sandbox.records("crm", "contacts")
        assert (held["App_User_Id"], held["Last_Name"]) == (by_our_field and "u1", "Lace")


async def test_the_second_user_gets_a_contact_once_the_first_has_another_email(
    crm: SystemDriver,
) -> None:
    await crm.publish("user.signed_up.v1", ADA)
    await crm.event("contact.synced.v1", user_id="u1")
    await crm.publish("user.signed_up.v1", {**EVE, "email": ADA["email"]})
    await crm.event("command.failed.v1", code="email_of_another_user")

    await crm.publish("user.updated.v1", {"user_id": "u1", "email": "lace@example.com"})

    await crm.event("contact.synced.v1", user_id="u2")
    held = {c["App_User_Id"]: c["Email"] for c in await crm.sandbox.records("crm", "contacts")}
    assert held == {"u1": "lace@example.com", "u2": "ada@example.com"}


async def test_a_user_who_changes_to_anothers_email_keeps_the_own_contact(
    crm: SystemDriver,
) -> None:
    await crm.publish("user.signed_up.v1", ADA)
    await crm.publish("user.signed_up.v1", {**EVE, "email": "eve@example.com"})
    await crm.event("contact.synced.v1", user_id="u1")
    await crm.event("contact.synced.v1", user_id="u2")
    mine = (await contact(crm, App_User_Id="u1"))["id"]

    await crm.publish("user.updated.v1", {"user_id": "u2", "email": ADA["email"]})

    await contact(crm, "Eve's contact with Ada's email", App_User_Id="u2", Email=ADA["email"])
    assert (await contact(crm, App_User_Id="u1"))["id"] == mine
    assert len(await crm.sandbox.records("crm", "contacts")) == 2


async def test_a_contact_that_crm_gave_to_another_user_is_given_back(crm: SystemDriver) -> None:
    """Staff put Eve's email on Ada's contact: CRM finds that one for Eve."""
    await crm.publish("user.signed_up.v1", ADA)
    await crm.event("contact.synced.v1", user_id="u1")
    mine = await contact(crm, App_User_Id="u1")
    await crm.sandbox.contact(mine["id"], "edit", Email="eve@example.com")

    await crm.publish("user.signed_up.v1", {**EVE, "email": "eve@example.com"})

    await crm.event("command.failed.v1", code="email_of_another_user")
    await crm.event("contact.synced.v1", user_id="u2")
    held = {c["App_User_Id"]: c for c in await crm.sandbox.records("crm", "contacts")}
    assert (held["u1"]["id"], held["u1"]["Email"]) == (mine["id"], "ada@example.com")
    assert (held["u1"]["Last_Name"], held["u2"]["Last_Name"]) == ("Lace", "Other")


async def test_two_replicas_do_not_both_send_one_email(around: Surroundings) -> None:
    replica = settings(around)
    async with (
        around.running(app.main, replica, queue="crm-worker.intake.events") as crm,
        around.running(app.main, replica, queue="crm-worker.intake.events"),
    ):
        both = range(6)
        await asyncio.gather(
            *(
                crm.publish("user.signed_up.v1", {"user_id": f"{who}{n}", "email": f"u{n}@x.com"})
                for n in both
                for who in ("a", "b")
            )
        )
        for n in both:
            await contact(crm, Email=f"u{n}@x.com")
        async with asyncio.timeout(20):
            while len(failures(crm)) < len(both):  # noqa: ASYNC110 - no event announces a number
                await asyncio.sleep(0.05)

        held = await crm.sandbox.records("crm", "contacts")
        synced = {b["user_id"] for k, b in crm.events if k == "contact.synced.v1"}
        assert len(held) == len(both)
        assert {c["App_User_Id"] for c in held} >= synced
        assert all(f["code"] == "email_of_another_user" for f in failures(crm))


async def test_refused_contacts_are_counted_in_the_metrics(around: Surroundings) -> None:
    port = free_port()
    chosen = settings(around, metrics_port=port)
    async with around.running(app.main, chosen, queue="crm-worker.intake.events") as crm:
        await crm.publish("user.signed_up.v1", {**ADA, "email": REFUSED_BY_CRM})
        await crm.event("command.failed.v1", code="contact_refused")

        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}/metrics") as answer,
        ):
            assert 'contacts_refused{org="default"} 1.0' in await answer.text()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


async def test_the_operator_sees_which_contacts_are_refused(
    crm: SystemDriver, database_url: str
) -> None:
    await crm.publish("user.signed_up.v1", {**ADA, "email": REFUSED_BY_CRM}, message_id="m1")
    await crm.event("command.failed.v1", code="contact_refused")

    said = await asyncio.to_thread(
        CliRunner().invoke,
        zoho_relay,
        ["contacts", "refused", "--json"],
        env={"DATABASE_URL": database_url, "OPERATOR_DATABASE_URL": database_url},
    )

    [row] = json.loads(said.stdout)
    assert (row["user_id"], row["code"], row["message_id"]) == ("u1", "INVALID_DATA", "m1")


async def refused(database_url: str) -> int:
    connection = await asyncpg.connect(database_url)
    try:
        count: int = await connection.fetchval(
            "SELECT count(*) FROM crm.contacts"
            " WHERE sent_version < refused_version AND refused_version = wanted_version"
        )
        return count
    finally:
        await connection.close()
