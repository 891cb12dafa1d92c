"""Commands that wait for what a later one brings are done once, through outages and deaths."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter

import pytest

from deploy.driving.system_driver import SystemDriver
from deploy.local.stack import Stack
from tests.chaos import upheavals
from tests.chaos.accounts import Published
from tests.chaos.hearing import Hearing
from tests.chaos.publisher import publish_in_turns
from tests.chaos.upheavals import Publishing, Upheaval
from tests.kit.people import email_of, sign_up_of
from tests.kit.whole_system import all_published, more_replicas, stage_of

pytestmark = pytest.mark.timeout(900)

WORKERS = ("billing-worker", "crm-worker")
# An invoice without a contact in Books is looked at again after a minute, and later each time.
PATIENCE_S = 300


@pytest.mark.parametrize(
    ("replicas", "upheaval"),
    [(1, upheavals.quiet), (1, upheavals.killed), (3, upheavals.postgresql_away)],
)
async def test_the_interactions_of_a_few_wait_until_their_contacts_are_mended(
    stack: Stack, stage: SystemDriver, replicas: int, upheaval: Upheaval
) -> None:
    users = await _refused_by_crm(stage, 5)
    commands = [[_interaction(user), _mended(user)] for user in users]

    await _through(stack, upheaval, commands, Counter(map(_interaction_of, users)), replicas)


@pytest.mark.chaos
@pytest.mark.parametrize("upheaval", upheavals.ALL)
@pytest.mark.parametrize("replicas", [1, 3])
async def test_interactions_and_invoices_wait_until_their_contacts_are_there(
    stack: Stack, stage: SystemDriver, replicas: int, upheaval: Upheaval
) -> None:
    await stage.sandbox.set_lag(integration=3600)
    users = await _refused_by_crm(stage, 100)
    await stage.sandbox.set_lag(integration=0)  # the change of a customer brings it to Books
    commands = [[_interaction(user), _invoice(user), _mended(user)] for user in users]
    wanted = Counter([*map(_interaction_of, users), *map(_invoice_of, users)])

    await _through(stack, upheaval, commands, wanted, replicas)


async def _refused_by_crm(stage: SystemDriver, count: int) -> list[str]:
    """So many have signed up, are customers of Billing, and CRM refused them for their email."""
    users = [f"u-{uuid.uuid4().hex[:12]}" for _ in range(count)]
    stage.patience_s = 60.0
    for user in users:
        body = {**sign_up_of(user), "email": f"{user}@example.c0m"}
        await stage.publish("user.signed_up.v1", body, message_id=f"sign-up-{user}")
    for user in users:
        await stage.event("customer.created.v1", user_id=user)
        await stage.event("command.failed.v1", message_id=f"sign-up-{user}", code="contact_refused")
    return users


async def _through(
    stack: Stack,
    upheaval: Upheaval,
    commands: list[list[Published]],
    wanted: Counter[str],
    replicas: int,
) -> None:
    """Publish the commands during an upheaval: what is wanted is at Zoho once, nothing failed."""
    async with (
        Hearing(stack, "command.failed.v1") as failures,
        more_replicas(stack, WORKERS, count=replicas),
    ):
        publishing = Publishing()
        async with upheaval(stack, [(worker, 1) for worker in WORKERS], publishing):
            await publish_in_turns(stack, commands, publishing)
        async with stage_of(stack) as after:  # the first one's connection may be gone
            async with asyncio.timeout(PATIENCE_S):
                while not set(wanted) <= set(await _made(after)):  # noqa: ASYNC110 - at Zoho
                    await asyncio.sleep(1)
            made = await _made(after)
        await all_published(stack)
        refused = await failures.counts(lambda event: event["code"], at_least=())

    assert Counter({name: made[name] for name in wanted}) == wanted
    assert not refused


async def _made(stage: SystemDriver) -> Counter[str]:
    """How often Zoho holds each interaction and each invoice, by our ids."""
    notes = await stage.sandbox.records("crm", "notes")
    invoices = await stage.sandbox.records("books", "invoices")
    return Counter(
        [
            *(str(note["Note_Content"]).rpartition("ref ")[2] for note in notes),
            *(field["value"] for each in invoices for field in each.get("custom_fields") or ()),
        ]
    )


def _interaction_of(user: str) -> str:
    return f"{user}-asked"


def _invoice_of(user: str) -> str:
    return f"{user}-invoice"


def _interaction(user: str) -> Published:
    body = {"user_id": user, "interaction_id": _interaction_of(user), "title": "Asked"}
    return Published("interaction.recorded.v1", {**body, "content": "Why?"})


def _invoice(user: str) -> Published:
    line = {"description": "Hours", "quantity": 1, "rate": "10.00"}
    body = {"user_id": user, "invoice_id": _invoice_of(user), "lines": [line]}
    return Published("invoice.create_requested.v1", body)


def _mended(user: str) -> Published:
    return Published("user.updated.v1", {"user_id": user, "email": email_of(user)})
