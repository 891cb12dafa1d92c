"""Test that CRM's code for one row decides what happens to its contact."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from services.crm_worker import app
from services.crm_worker.settings import Settings
from tests.crm_worker.contacts import bring_forward, contact, contact_of_staff, tags
from tests.kit.surroundings import Surroundings
from tests.kit.watched_worker import Watched, watched

PASSES = ("RECORD_LOCKED", "ALREADY_MODIFIED")
OF_THE_CALL = {
    "INTERNAL_ERROR": "outage",
    "NO_PERMISSION": "permission",
    "LICENSE_LIMIT_EXCEEDED": "licence",
    "OAUTH_SCOPE_MISMATCH": "scope",
    "TOO_MANY_REQUESTS": "concurrency",
}
FINAL = ("INVALID_DATA", "NOT_APPROVED", "A_CODE_NOBODY_KNOWS")
USERS = ("u1", "u2", "u3", "u4", "u5")


@pytest.fixture
async def worker(database_url: str, amqp_url: str) -> AsyncIterator[Watched]:
    async with (
        Surroundings(database_url, amqp_url) as around,
        watched(
            around,
            "crm-worker",
            app.main,
            Settings,
            queue="crm-worker.intake.events",
            crm_flush_every_s=0.05,
            zoho_crm_user_field="App_User_Id",
        ) as crm,
    ):
        yield crm


async def answer_rows(worker: Watched, operation: str, code: str, *, times: int = 1) -> None:
    row = {"code": code, "details": {}, "message": "a sentence of Zoho's", "status": "error"}
    body = {"data": [row]}
    await worker.order("crm", operation, kind="answer", status=207, body=body, times=times)


async def sign_up(worker: Watched, user: str) -> None:
    body = {"user_id": user, "email": f"{user}@example.com", "full_name": "Ada Lace"}
    await worker.stage.publish("user.signed_up.v1", body)


async def synced(worker: Watched, database: asyncpg.Connection, user: str) -> None:
    """The contact is there in the end; what was put off is brought forward."""
    await worker.until(
        lambda seen: any(seen.by("zoho_api_requests_total", "outcome").values()), "a first call"
    )
    for _ in range(400):
        await bring_forward(database)
        if await database.fetchval(
            "SELECT sent_version = wanted_version FROM crm.contacts WHERE user_id = $1", user
        ):
            return
        await worker.until(lambda _seen: True, "a look")
    raise AssertionError(f"the contact of {user} is not in CRM")


def refusals(worker: Watched) -> list[tuple[str, str]]:
    return [(b["code"], b["reason"]) for k, b in worker.stage.events if k == "command.failed.v1"]


async def test_a_row_that_may_pass_is_sent_again(
    worker: Watched, database: asyncpg.Connection
) -> None:
    for user, code in zip(USERS, PASSES, strict=False):
        await answer_rows(worker, "upsert_records", code)
        await sign_up(worker, user)
        await synced(worker, database, user)

    held = {row["App_User_Id"] for row in await worker.stage.sandbox.records("crm", "contacts")}
    assert held == set(USERS[: len(PASSES)])
    assert refusals(worker) == []


async def test_what_concerns_the_whole_call_refuses_no_contact(
    worker: Watched, database: asyncpg.Connection
) -> None:
    """A person grants a missing right, and then every contact must be sent."""
    for user, (code, outcome) in zip(USERS, OF_THE_CALL.items(), strict=True):
        await answer_rows(worker, "upsert_records", code)
        await sign_up(worker, user)
        await synced(worker, database, user)
        seen = await worker.look()
        assert seen.value("zoho_api_requests_total", product="crm", outcome=outcome) == 1, code

    held = {row["App_User_Id"] for row in await worker.stage.sandbox.records("crm", "contacts")}
    assert held == set(USERS)
    assert refusals(worker) == []


async def test_a_missing_right_is_reported_and_holds_up_no_queue(worker: Watched) -> None:
    await answer_rows(worker, "upsert_records", "NO_PERMISSION", times=1000)
    await sign_up(worker, "u1")

    seen = await worker.until(
        lambda seen: bool(seen.value("zoho_breaker_open", product="crm", cause="permission")),
        "a breaker that is open",
    )
    assert seen.value("product_paused", product="crm") == 0


async def test_a_plain_refusal_is_reported_once(worker: Watched) -> None:
    for user, code in zip(USERS, FINAL, strict=False):
        await answer_rows(worker, "upsert_records", code)
        await sign_up(worker, user)
        reason = f"CRM does not take the contact: {code}"
        await worker.stage.event("command.failed.v1", code="contact_refused", reason=reason)

    assert await worker.stage.sandbox.records("crm", "contacts") == []


async def test_a_contact_written_by_its_id_goes_by_the_same_table(
    database_url: str, amqp_url: str, database: asyncpg.Connection
) -> None:
    async with (
        Surroundings(database_url, amqp_url) as around,
        watched(
            around,
            "crm-worker",
            app.main,
            Settings,
            queue="crm-worker.intake.events",
            crm_flush_every_s=0.05,
            zoho_crm_user_field=None,  # so that a changed email goes by the contact's id
        ) as worker,
    ):
        await sign_up(worker, "u1")
        await worker.stage.event("contact.synced.v1", user_id="u1")
        sandbox, before = worker.stage.sandbox, 0
        for number, code in enumerate(("RECORD_LOCKED", "NO_PERMISSION")):
            await answer_rows(worker, "update_record", code)

            changed: dict[str, Any] = {"user_id": "u1", "email": f"new{number}@example.com"}
            await worker.stage.publish("user.updated.v1", changed)
            await sandbox.wait_for_request("crm", "update_record", since=before)
            await synced(worker, database, "u1")
            before = (await sandbox.requests(product="crm"))[-1]["id"]
            await contact(worker.stage, Email=changed["email"])
        assert refusals(worker) == []


async def test_a_tag_that_a_locked_contact_did_not_get_is_set_later(
    worker: Watched, database: asyncpg.Connection
) -> None:
    await contact_of_staff(worker.stage, "u1@example.com")
    await answer_rows(worker, "add_tags", "RECORD_LOCKED")
    await sign_up(worker, "u1")

    await synced(worker, database, "u1")

    assert tags(await contact(worker.stage, App_User_Id="u1")) == {
        "App User", "Active", "Free Tier",
    }  # fmt: skip
    assert len(await worker.stage.sandbox.requests(product="crm", operation="add_tags")) == 2
