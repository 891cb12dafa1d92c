"""Publish many changes of few contacts at once: CRM ends with the last of each, for few calls."""

from __future__ import annotations

import asyncio
import json

import aio_pika
import asyncpg
import pytest

from deploy.driving.system_driver import SystemDriver
from services.crm_worker import app
from services.crm_worker.settings import Settings
from services.zoho_sandbox.driver import Json
from tests.kit.people import sign_up_of
from tests.kit.surroundings import Surroundings

# As Zoho's own calls take at least. A change that comes meanwhile goes with the next call, so how
# many calls there are depends on it.
_CALL_S = 0.25

_BEHIND = "SELECT count(*) FROM crm.contacts WHERE sent_version < wanted_version"
_OPEN = "SELECT count(*) FROM crm.inbox"


@pytest.mark.parametrize(
    ("contacts", "changes", "most_calls"),
    [
        pytest.param(100, 10, 40, id="1,000 changes over 100 contacts"),
        pytest.param(
            1_000, 10, 400, id="10,000 changes over 1,000 contacts", marks=pytest.mark.chaos
        ),
    ],
)
async def test_the_last_change_of_each_contact_arrives_and_few_calls_are_made(
    around: Surroundings, database_url: str, contacts: int, changes: int, most_calls: int
) -> None:
    settings = Settings(**{**around.environment, "zoho_crm_user_field": "App_User_Id"})
    users = [f"u{number}" for number in range(contacts)]
    async with around.running(app.main, settings, queue="crm-worker.intake.commands") as stage:
        await stage.sandbox.set_limits("crm", minute=100_000, day=None)
        await stage.sandbox.fault("crm", "slow", delay_s=_CALL_S)
        await _publish(stage, [("user.signed_up.v1", sign_up_of(user)) for user in users])
        await _all_sent(database_url, contacts)
        before = (await stage.sandbox.requests(product="crm"))[-1]["id"]

        await _publish(
            stage,
            [
                ("user.updated.v1", _change(user, number))
                for number in range(changes)
                for user in users
            ],
        )
        await _all_sent(database_url, contacts)

        held = await stage.sandbox.records("crm", "contacts")
        assert {(c["App_User_Id"], c["Last_Name"], c["Phone"]) for c in held} == {
            (user, f"Change {changes - 1}", _phone(changes - 1)) for user in users
        }
        calls = await stage.sandbox.requests(product="crm", since=before)
    upserts = sum(call["operation"] == "upsert_records" for call in calls)
    print(f"\n{contacts * changes} changes of {contacts} contacts: {upserts} upserts")
    assert upserts <= most_calls
    # Nothing else is called: the tags stay as they are.
    assert upserts == len(calls)


def _change(user: str, number: int) -> Json:
    return {"user_id": user, "last_name": f"Change {number}", "phone": _phone(number)}


def _phone(number: int) -> str:
    return f"+49 30 {1_000_000 + number}"


async def _publish(stage: SystemDriver, commands: list[tuple[str, Json]]) -> None:
    """Publish them as fast as the broker takes them, in this order."""
    exchange = await stage.channel.get_exchange("zoho.commands")
    waiting: list[asyncio.Task[object]] = []
    for number, (key, body) in enumerate(commands):
        message = aio_pika.Message(json.dumps(body).encode(), message_id=f"{key}-{number}")
        waiting.append(asyncio.create_task(exchange.publish(message, key)))
        if len(waiting) == 500:
            await asyncio.gather(*waiting)
            waiting.clear()
    await asyncio.gather(*waiting)


async def _all_sent(database_url: str, contacts: int) -> None:
    """Return once all contacts are known, no message is open, and CRM is behind on nothing."""
    connection = await asyncpg.connect(database_url)
    try:
        async with asyncio.timeout(300):
            while (  # noqa: ASYNC110 - no event announces it
                await connection.fetchval("SELECT count(*) FROM crm.contacts") < contacts
                or await connection.fetchval(_OPEN)
                or await connection.fetchval(_BEHIND)
            ):
                await asyncio.sleep(0.2)
    finally:
        await connection.close()
