"""Test how changes by staff reach the application: by channel, by workflow rule, by comparison."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest

from deploy.driving.system_driver import SystemDriver
from services.crm_worker import app
from services.crm_worker.repositories.crm_values import StoredContact
from services.crm_worker.repositories.watches import Watches
from services.crm_worker.watching.staff_changes import StaffChange, staff_changes
from services.webhook_gateway import app as gateway
from services.webhook_gateway.settings import Settings as GatewaySettings
from services.zoho_sandbox.driver import Json, SandboxDriver
from shared.errors import Postponed
from shared.zoho.products.crm.models import CrmContact
from tests.crm_worker.conftest import settings
from tests.crm_worker.contacts import ADA, contact, until
from tests.kit.surroundings import Surroundings

TOKEN, WORKFLOW_SECRET = "the token of our channel", "the secret of our workflow rule"
QUEUE = "crm-worker.intake.webhooks"
OPEN_CHANNELS = "SELECT count(*) FROM crm.watches WHERE channel_expires_at > now()"


@pytest.fixture
async def gateway_url(around: Surroundings) -> AsyncIterator[str]:
    async with AsyncExitStack() as stack:
        port = await gateway.build(
            stack,
            GatewaySettings(
                **{
                    **around.environment,
                    "http_port": 0,
                    "metrics_port": 0,
                    "zoho_webhook_secret": "not used here",
                    "zoho_crm_channel_token": TOKEN,
                    "zoho_crm_webhook_secret": WORKFLOW_SECRET,
                }
            ),
        )
        yield f"http://127.0.0.1:{port}"


def watching(around: Surroundings, gateway_url: str | None, **more: Any) -> Any:
    chosen = {
        "gateway_url": gateway_url,
        "zoho_crm_channel_token": TOKEN,
        "crm_compare_every_s": 0.3,
        **more,
    }
    return settings(around, **chosen)


@pytest.fixture
async def watched(
    around: Surroundings, gateway_url: str, database: asyncpg.Connection
) -> AsyncIterator[SystemDriver]:
    """A running crm-worker whose channel is open."""
    async with around.running(app.main, watching(around, gateway_url), queue=QUEUE) as stage:
        await until(database, OPEN_CHANNELS, 1)
        yield stage


async def ada(stage: SystemDriver, **more: Any) -> Json:
    """Sign Ada up, and return her contact."""
    await stage.publish("user.signed_up.v1", {**ADA, "phone": "+49 30 1234567", **more})
    await stage.event("contact.synced.v1", user_id="u1")
    return await contact(stage, App_User_Id="u1")


async def channels(stage: SystemDriver) -> list[Json]:
    return await stage.sandbox.records("crm", "channels")


def changes(stage: SystemDriver) -> list[Json]:
    return [body for key, body in stage.events if key == "contact.changed.v1"]


async def all_webhooks_handled(stage: SystemDriver, database: asyncpg.Connection) -> None:
    """Return once every webhook so far is settled, and its events are in `stage.events`.

    A webhook that the gateway has published is accepted by crm-worker only a moment later.
    """
    await stage.sandbox.wait_until_delivered(product="crm")
    handled = """
        SELECT (SELECT count(*) FROM gateway.outbox)
             = (SELECT count(*) FROM crm.accepted_ids WHERE routing_key LIKE 'crm.%')
           AND NOT EXISTS (SELECT FROM crm.inbox)
           AND NOT EXISTS (SELECT FROM crm.outbox WHERE published_at IS NULL)
    """
    await until(database, handled, True)
    await stage.hear()


async def test_a_phone_that_staff_change_is_announced_and_stays(watched: SystemDriver) -> None:
    held = await ada(watched)

    await watched.sandbox.contact(held["id"], "edit", Phone="+49 40 7654321", Title="Dr.")

    changed = await watched.event("contact.changed.v1", user_id="u1")
    assert changed["fields"] == {"phone": "+49 40 7654321"}
    assert changed["subject"] == "contact:u1"
    await watched.publish("user.updated.v1", {"user_id": "u1", "first_name": "Augusta"})
    held = await contact(watched, First_Name="Augusta")
    assert held["Phone"] == "+49 40 7654321"


async def test_an_email_that_staff_change_is_the_users_from_then_on(watched: SystemDriver) -> None:
    held = await ada(watched)
    await watched.sandbox.contact(held["id"], "edit", Email="countess@example.com")
    changed = await watched.event("contact.changed.v1", user_id="u1")
    assert changed["fields"] == {"email": "countess@example.com"}

    await watched.publish(
        "user.signed_up.v1",
        {"user_id": "u2", "email": "countess@example.com", "full_name": "Another One"},
    )
    await watched.publish(
        "user.signed_up.v1", {"user_id": "u3", "email": ADA["email"], "full_name": "Ada Third"}
    )

    await watched.event("command.failed.v1", code="email_of_another_user")
    await watched.event("contact.synced.v1", user_id="u3")
    assert (await contact(watched, App_User_Id="u1"))["Email"] == "countess@example.com"
    # CRM would have matched u1's contact by the email, and given it to u2.
    upserts = await watched.sandbox.requests(product="crm", operation="upsert_records")
    assert not [call for call in upserts if '"u2"' in json.dumps(call["body"])]


async def test_our_own_writes_are_no_change_and_cost_no_call(
    watched: SystemDriver, database: asyncpg.Connection
) -> None:
    await ada(watched)
    await watched.publish("user.updated.v1", {"user_id": "u1", "first_name": "Augusta"})
    await contact(watched, First_Name="Augusta")
    await all_webhooks_handled(watched, database)
    assert await watched.sandbox.requests(product="crm", operation="get_record") == []

    await watched.publish("user.updated.v1", {"user_id": "u1", "phone": "+1 925 921 9201"})
    await contact(watched, Phone="+1 925 921 9201")
    await all_webhooks_handled(watched, database)

    assert len(await watched.sandbox.deliveries(product="crm")) > 1
    assert changes(watched) == []


async def test_a_workflow_rule_and_a_channel_of_one_change_make_one_event(
    watched: SystemDriver, gateway_url: str, database: asyncpg.Connection
) -> None:
    held = await ada(watched)
    await watched.sandbox.set_targets(
        crm={"url": f"{gateway_url}/webhooks/crm", "workflow_secret": WORKFLOW_SECRET}
    )

    await watched.sandbox.contact(held["id"], "edit", Phone="+49 40 7654321")
    await watched.event("contact.changed.v1", user_id="u1")
    await all_webhooks_handled(watched, database)

    assert len(changes(watched)) == 1
    kinds = {row["event_type"] for row in await watched.sandbox.deliveries(product="crm")}
    assert {"workflow.edit", "Contacts.edit"} <= kinds


async def test_a_workflow_rule_alone_is_enough(
    around: Surroundings, gateway_url: str, database: asyncpg.Connection
) -> None:
    rarely = watching(around, None, crm_compare_every_s=3600.0)
    async with around.running(app.main, rarely, queue=QUEUE) as stage:
        held = await ada(stage)
        await stage.sandbox.set_targets(
            crm={"url": f"{gateway_url}/webhooks/crm", "workflow_secret": WORKFLOW_SECRET}
        )

        await stage.sandbox.contact(held["id"], "edit", Phone="")

        changed = await stage.event("contact.changed.v1", user_id="u1")
        assert changed["fields"] == {"phone": ""}
        assert await channels(stage) == []


async def test_the_channel_is_prolonged_before_it_lapses(
    around: Surroundings, gateway_url: str, database: asyncpg.Connection
) -> None:
    async with around.running(app.main, watching(around, gateway_url), queue=QUEUE) as stage:
        await stage.sandbox.wait_for_request("crm", "enable_notifications")
        await until(database, "SELECT renew_at < channel_expires_at FROM crm.watches", True)
        [opened] = await channels(stage)
        await stage.sandbox.load(
            {"crm": {"channels": [{**opened, "channel_expiry": "2126-01-01T00:00:00+00:00"}]}}
        )

        await database.execute("UPDATE crm.watches SET renew_at = '-infinity'")

        await stage.sandbox.wait_for_request("crm", "update_notifications")
        await until(database, "SELECT renew_at > now() FROM crm.watches", True)
        [prolonged] = await channels(stage)
        assert prolonged["channel_id"] == opened["channel_id"]
        assert prolonged["channel_expiry"] < "2126"
        opens = await stage.sandbox.requests(product="crm", operation="enable_notifications")
        assert len(opens) == 1


async def test_what_happened_without_a_channel_is_found_and_the_gap_is_recorded_as_closed(
    around: Surroundings, gateway_url: str, database: asyncpg.Connection
) -> None:
    async with around.running(app.main, watching(around, gateway_url), queue=QUEUE) as stage:
        held = await ada(stage)
        await stage.sandbox.wait_for_request("crm", "enable_notifications")
        await until(database, "SELECT count(*) FROM crm.comparisons", 1)
        [opened] = await channels(stage)
        past = {**opened, "channel_expiry": "2020-01-01T00:00:00+00:00"}
        await stage.sandbox.load({"crm": {"channels": [past]}})
        announced = await stage.sandbox.deliveries(product="crm")
        await stage.sandbox.contact(held["id"], "edit", Phone="+49 40 7654321")
        assert len(await stage.sandbox.deliveries(product="crm")) == len(announced)
        # An update of the application's before the gap is closed does not undo what staff wrote.
        await stage.publish("user.updated.v1", {"user_id": "u1", "first_name": "Augusta"})
        await contact(stage, First_Name="Augusta")

        lapsed_at = await database.fetchval(
            """
            UPDATE crm.watches SET channel_expires_at = clock_timestamp(), renew_at = '-infinity'
            RETURNING channel_expires_at
            """
        )

        changed = await stage.event("contact.changed.v1", user_id="u1")
        assert changed["fields"] == {"phone": "+49 40 7654321"}
        await until(database, "SELECT count(*) FROM crm.comparisons WHERE cause = 'gap'", 2)
        closed = await database.fetchrow(
            "SELECT first, last, contacts, changes FROM crm.comparisons ORDER BY id DESC LIMIT 1"
        )
        assert closed["first"] < lapsed_at < closed["last"]
        assert (closed["contacts"], closed["changes"]) == (1, 1)
        [reopened] = await channels(stage)
        assert reopened["channel_expiry"] > "2020-01-02"
        # Each comparison begins where the one before ended, or earlier.
        assert not await database.fetchval(
            """
            SELECT count(*) FROM (
                SELECT first > lag(last) OVER (ORDER BY id) AS is_open FROM crm.comparisons) AS c
            WHERE is_open
            """
        )


async def test_without_a_channel_contacts_are_compared_all_the_same(
    around: Surroundings, database: asyncpg.Connection
) -> None:
    async with around.running(app.main, watching(around, None), queue=QUEUE) as stage:
        held = await ada(stage)
        await stage.sandbox.contact(
            held["id"], "edit", Phone="+49 40 7654321", Email="countess@example.com"
        )

        changed = await stage.event("contact.changed.v1", user_id="u1")
        assert changed["fields"] == {"phone": "+49 40 7654321", "email": "countess@example.com"}
        assert await stage.sandbox.requests(product="crm", operation="enable_notifications") == []


async def test_a_channel_that_crm_refuses_leaves_the_comparison(
    around: Surroundings, gateway_url: str, database: asyncpg.Connection
) -> None:
    async with SandboxDriver(around.sandbox_url) as sandbox:
        row = {"code": "INVALID_DATA", "details": {}, "message": "", "status": "error"}
        await sandbox.post(
            "faults",
            product="crm",
            operation="enable_notifications",
            kind="answer",
            status=400,
            body={"watch": [row]},
        )
    async with around.running(app.main, watching(around, gateway_url), queue=QUEUE) as stage:
        held = await ada(stage)
        await stage.sandbox.wait_for_request("crm", "enable_notifications")
        await stage.sandbox.contact(held["id"], "edit", Phone="+49 40 7654321")

        await stage.event("contact.changed.v1", user_id="u1")


async def test_a_replica_that_has_lost_the_lease_records_no_channel(database_url: str) -> None:
    async with asyncpg.create_pool(database_url, min_size=1, max_size=1) as pool:
        watches = Watches(pool)
        lapsed, leased = [
            await watches.lease("default", lease_s=-1.0, keeps_channel=True, renew_now=True)
            for _ in range(2)
        ]
        assert lapsed
        assert leased

        with pytest.raises(Postponed):
            await watches.record_channel(
                "default", lapsed, expires_at=lapsed.now, is_new=True, renew_in_s=60.0
            )

        recorded = await watches.record_channel(
            "default", leased, expires_at=leased.now, is_new=True, renew_in_s=60.0
        )
        assert recorded.has_gap


async def test_many_contacts_modified_in_one_second_are_all_compared(
    around: Surroundings, database: asyncpg.Connection
) -> None:
    """COQL shows 200 at a time, and staff may have imported more within a second."""
    staff = {"id": "487600000000000003", "name": "Staff", "email": "staff@example.com"}
    async with around.running(app.main, watching(around, None), queue=QUEUE) as stage:
        held = await ada(stage)
        held["Phone"] = "+49 40 7654321"
        imported = [
            {
                "id": f"4876{number:014}",
                "Email": f"i{number}@example.com",
                "Last_Name": "Imported",
                "Tag": [],
                "Created_By": staff,
                "Modified_Time": held["Modified_Time"],
            }
            for number in range(450)
        ]
        await stage.sandbox.load({"crm": {"contacts": [*imported, held]}})

        await stage.event("contact.changed.v1", user_id="u1")


async def test_a_change_of_the_applications_on_its_way_wins_over_that_of_staff(
    watched: SystemDriver, database: asyncpg.Connection
) -> None:
    held = await ada(watched)
    await all_webhooks_handled(watched, database)
    await watched.sandbox.fault("crm", "hold", operation="POST /Contacts/upsert")
    await watched.publish("user.updated.v1", {"user_id": "u1", "phone": "+1 925 921 9201"})
    await watched.sandbox.wait_until_held("crm")
    await watched.sandbox.contact(held["id"], "edit", Phone="+49 40 7654321")
    # Whose the phone is cannot be seen yet, so the webhook waits.
    await until(database, "SELECT count(*) FROM crm.inbox WHERE due_at > now()", 1)

    await watched.sandbox.clear_faults()

    await contact(watched, Phone="+1 925 921 9201")
    await until(database, "SELECT wanted_version - sent_version FROM crm.contacts", 0)
    await database.execute("UPDATE crm.inbox SET due_at = now() WHERE due_at > now()")
    await all_webhooks_handled(watched, database)
    assert changes(watched) == []
    assert (await contact(watched, App_User_Id="u1"))["Phone"] == "+1 925 921 9201"


@pytest.mark.parametrize(
    ("update", "refusal"),
    [
        ({"phone": "+1 925 921 9201"}, {"code": "INVALID_DATA", "details": {"api_name": "Phone"}}),
        ({"phone": "+1 925 921 9201"}, {"code": "INVALID_DATA", "details": {}}),
        ({"email": "countess@example.com"}, {"code": "DUPLICATE_DATA", "details": {}}),
        ({"email": "countess@example.com"}, None),
    ],
    ids=["the field", "the row", "a duplicate", "the call"],
)
async def test_a_value_that_crm_refused_is_not_taken_back_as_a_change_by_staff(
    around: Surroundings, database: asyncpg.Connection, update: Json, refusal: Json | None
) -> None:
    async with around.running(app.main, watching(around, None), queue=QUEUE) as stage:
        before = await ada(stage)
        if refusal:
            await stage.sandbox.set_behaviour(refused_rows={next(iter(update.values())): refusal})
        else:
            body = {"code": "INVALID_DATA", "details": {}, "message": "", "status": "error"}
            await stage.sandbox.post(
                "faults",
                product="crm",
                operation="upsert_records",
                kind="answer",
                status=400,
                body=body,
                times=1,
            )

        await stage.publish("user.updated.v1", {"user_id": "u1", **update})
        sent_or_refused = "greatest(sent_version, refused_version) = 2"
        await until(database, f"SELECT {sent_or_refused} FROM crm.contacts", True)  # noqa: S608
        await compared_once_more(database)
        await stage.sandbox.set_behaviour(refused_rows={})
        await stage.publish("user.updated.v1", {"user_id": "u1", "first_name": "Augusta"})

        after = await contact(stage, First_Name="Augusta")
        wanted = {"Email": before["Email"], "Phone": before["Phone"]}
        wanted |= {name.capitalize(): value for name, value in update.items()}
        assert {name: after[name] for name in wanted} == wanted
        assert changes(stage) == []


async def compared_once_more(database: asyncpg.Connection) -> None:
    """Return once a comparison that began after this has ended."""
    begun = await database.fetchval("SELECT clock_timestamp()")
    async with asyncio.timeout(20):
        while not await database.fetchval(  # noqa: ASYNC110 - no event announces it
            "SELECT EXISTS (SELECT FROM crm.comparisons WHERE last > $1)", begun
        ):
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("wanted", "in_crm", "is_pending", "seen", "is_staffs"),
    [
        ("+1 2345", "+1 2345", False, "+1 2345", False),
        ("+1 2345", "+1 2345", False, "+1-2345", False),  # the same number
        ("+1 2345", "+1 2345", False, "+1 9999", True),
        ("+1 2345", "+1 2345", False, "", True),
        ("+1 2345", "+1 2345", True, "+1 9999", True),  # another field is on its way
        ("+1 7777", "+1 2345", True, "+1 2345", False),  # ours is on its way
        ("+1 7777", "+1 2345", True, "+1 9999", False),  # and is the newer one
        ("+1 7777", "+1 2345", False, "+1 9999", True),  # CRM refused ours
        ("+1 2345", None, False, "+1 9999", True),  # of a contact that staff made
        ("+1 2345", None, False, "", False),  # CRM does not take ours
        (None, None, False, "+1 9999", True),
        (None, None, False, "", False),
    ],
)
def test_which_phone_is_staffs(
    wanted: str | None, in_crm: str | None, is_pending: bool, seen: str, is_staffs: bool
) -> None:
    stored = StoredContact(
        org="default",
        user_id="u1",
        zoho_id="1",
        wanted={"email": "a@example.com", **({"phone": wanted} if wanted else {})},
        in_crm={"email": "a@example.com", **({"phone": in_crm} if in_crm else {})},
        is_pending=is_pending,
        sealed={},
    )
    found = CrmContact.of({"id": "1", "Email": "A@example.com", "Phone": seen or None})

    expected = [StaffChange("phone", seen)] if is_staffs else []
    assert staff_changes(stored, found) == expected
