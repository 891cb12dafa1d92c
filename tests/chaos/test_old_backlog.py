"""What waits for something in a backlog of more than 15 minutes is done, in order."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from deploy.driving.system_driver import SystemDriver
from deploy.local.stack import Stack
from tests.chaos import upheavals
from tests.chaos.accounts import Published
from tests.chaos.hearing import Hearing
from tests.chaos.inbox_rows import move_back, time_passes, until_count
from tests.chaos.publisher import publish_in_turns
from tests.chaos.upheavals import Publishing, Upheaval
from tests.chaos.zoho_records import notes_by_user, once_there
from tests.kit.people import email_of, sign_up_of
from tests.kit.whole_system import REPLICAS, all_published, more_replicas, stage_of

WORKERS = ("billing-worker", "crm-worker")
AS_LONG_AS_A_WAIT_S = 900.0
NIGHT_S = 8 * 3600.0
PHONES = ("+49 30 111111", "+49 30 222222")

_INTERACTIONS = """
    crm.inbox
    WHERE routing_key = 'interaction.recorded.v1' AND state = 'fact' AND line = ANY ($1)
    """
_INVOICES = """
    billing.inbox
    WHERE routing_key LIKE 'invoice.%' AND state <> 'in_line' AND line = ANY ($1)
    """
_DUE_INVOICES = """
    billing.inbox
    WHERE routing_key LIKE 'invoice.%' AND state <> 'fact' AND line = ANY ($1)
      AND due_at <= clock_timestamp()
    """


@dataclass(frozen=True)
class Customer:
    """A user whose commands wait: CRM takes no contact, and Books has none to bill."""

    user_id: str

    def of_the_backlog(self) -> list[Published]:
        """The second interaction stands behind the first, and the void behind its invoice."""
        return [
            Published("user.signed_up.v1", sign_up_of(self.user_id)),
            self._interaction("first"),
            self._interaction("second"),
            Published(
                "invoice.create_requested.v1",
                {
                    "user_id": self.user_id,
                    "invoice_id": self.invoice,
                    "lines": [{"description": "Hours", "quantity": 1, "rate": "10.00"}],
                },
            ),
            Published(
                "invoice.void_requested.v1", {"invoice_id": self.invoice, "reason": "a test"}
            ),
        ]

    def afterwards(self) -> list[Published]:
        return [
            self._interaction("third"),
            self._updated(PHONES[0]),
            self._updated(PHONES[1]),
        ]

    @property
    def invoice(self) -> str:
        return f"{self.user_id}-invoice"

    @property
    def notes(self) -> list[str]:
        return [f"{self.user_id}-{which}" for which in ("first", "second", "third")]

    def _interaction(self, which: str) -> Published:
        body = {"user_id": self.user_id, "interaction_id": f"{self.user_id}-{which}"}
        return Published("interaction.recorded.v1", {**body, "title": "A", "content": "Why?"})

    def _updated(self, phone: str) -> Published:
        return Published("user.updated.v1", {"user_id": self.user_id, "phone": phone})


@pytest.mark.parametrize(("replicas", "upheaval"), [(3, upheavals.postgresql_away)])
async def test_what_a_few_wait_for_may_be_older_than_their_waits(
    stack: Stack, stage: SystemDriver, replicas: int, upheaval: Upheaval
) -> None:
    await _through(stack, stage, upheaval, count=5, replicas=replicas)


@pytest.mark.chaos
@pytest.mark.parametrize(
    ("replicas", "upheaval"),
    [
        (1, upheavals.quiet),
        (1, upheavals.postgresql_away),
        (1, upheavals.rabbitmq_restarts),
        (1, upheavals.killed),
        (1, upheavals.hanging),
        (3, upheavals.killed),
        (3, upheavals.rabbitmq_restarts),
        (3, upheavals.hanging),
    ],
)
async def test_what_commands_wait_for_may_be_older_than_their_waits(
    stack: Stack, stage: SystemDriver, replicas: int, upheaval: Upheaval
) -> None:
    await _through(stack, stage, upheaval, count=50, replicas=replicas)


async def _through(
    stack: Stack, stage: SystemDriver, upheaval: Upheaval, *, count: int, replicas: int
) -> None:
    """The backlog grows old. During an upheaval Zoho takes it again, and all must end in order."""
    customers = [Customer(f"u-{uuid.uuid4().hex[:12]}") for _ in range(count)]
    users = [customer.user_id for customer in customers]
    async with (
        Hearing(stack, "command.failed.v1") as failures,
        more_replicas(stack, WORKERS, count=replicas),
    ):
        async with _zoho_takes_nothing_of_theirs(stage):
            commands = [customer.of_the_backlog() for customer in customers]
            await publish_in_turns(stack, commands, Publishing())
            await _all_wait(stack, users)
            await time_passes(stack, AS_LONG_AS_A_WAIT_S)
            await _all_wait(stack, users)
        publishing = Publishing()
        async with upheaval(stack, [(worker, 1) for worker in WORKERS], publishing):
            commands = [customer.afterwards() for customer in customers]
            await publish_in_turns(stack, commands, publishing)
        async with stage_of(stack) as after:  # the first one's connection may be gone
            await once_there(after, users)
            notes = await notes_by_user(after, users, each=3)
            invoices = await _all_void(stack, after, customers)
            phones = await _phones(after, users)
        await all_published(stack)
        refused = await failures.counts(lambda event: event["code"], at_least=())

    assert notes == {customer.user_id: customer.notes for customer in customers}
    assert invoices == {customer.invoice: ["void"] for customer in customers}
    assert phones == dict.fromkeys(users, PHONES[-1])
    assert not refused


@pytest.mark.chaos
@pytest.mark.parametrize("replicas", [1, 3])
async def test_a_night_in_which_no_worker_runs_ends_no_wait(
    stack: Stack, stage: SystemDriver, replicas: int
) -> None:
    users = [f"u-{uuid.uuid4().hex[:12]}" for _ in range(50)]
    interactions = [Customer(user).of_the_backlog()[1:3] for user in users]
    async with (
        Hearing(stack, "command.failed.v1") as failures,
        more_replicas(stack, WORKERS, count=replicas),
    ):
        await publish_in_turns(stack, interactions, Publishing())
        await until_count(stack, _INTERACTIONS, _lines(users), expected=2 * len(users))
        async with _no_worker(stack, replicas):
            await move_back(stack, NIGHT_S)
            sign_ups = [[Published("user.signed_up.v1", sign_up_of(user))] for user in users]
            await publish_in_turns(stack, sign_ups, Publishing())
        notes = await notes_by_user(stage, users, each=2)
        await all_published(stack)
        refused = await failures.counts(lambda event: event["code"], at_least=())

    assert notes == {user: Customer(user).notes[:2] for user in users}
    assert not refused


@asynccontextmanager
async def _zoho_takes_nothing_of_theirs(stage: SystemDriver) -> AsyncIterator[None]:
    """CRM refuses every call for its limits, and no customer of Billing comes to Books."""
    await stage.sandbox.set_lag(integration=3600)
    await stage.sandbox.set_limits("crm", minute=0)
    try:
        yield
    finally:
        await stage.sandbox.set_limits("crm", minute=100_000)
        await stage.sandbox.set_lag(integration=0)  # the change of a customer brings it to Books


@asynccontextmanager
async def _no_worker(stack: Stack, replicas: int) -> AsyncIterator[None]:
    """Every replica of the workers is stopped while the context is entered."""
    running = [
        (worker, n) for worker in WORKERS for n in range(1, min(replicas, REPLICAS[worker]) + 1)
    ]
    for worker, n in running:
        await asyncio.to_thread(stack.stop_process, worker, n)
    try:
        yield
    finally:
        for worker, n in running:
            await asyncio.to_thread(stack.start_process, worker, n)


async def _all_wait(stack: Stack, users: list[str]) -> None:
    """Both interactions of each, the invoice and its end."""
    await until_count(stack, _INTERACTIONS, _lines(users), expected=2 * len(users))
    await until_count(stack, _INVOICES, _lines(users), expected=2 * len(users))


def _lines(users: list[str]) -> list[str]:
    return [f"user:{user}" for user in users]


async def _all_void(
    stack: Stack, stage: SystemDriver, customers: list[Customer]
) -> dict[str, list[str]]:
    """The states of each customer's invoices, once there is one and void, as time goes by."""
    wanted = {customer.invoice for customer in customers}
    lines = _lines([customer.user_id for customer in customers])
    async with asyncio.timeout(120):
        while True:
            states: dict[str, list[str]] = {}
            for invoice in await stage.sandbox.records("books", "invoices"):
                for field in invoice.get("custom_fields") or ():
                    if field["value"] in wanted:
                        states.setdefault(field["value"], []).append(invoice["status"])
            if set(states) == wanted and all("void" in each for each in states.values()):
                return states
            # They look for their contacts in Books again, a quarter of an hour later.
            await move_back(stack, 900)
            await until_count(stack, _DUE_INVOICES, lines, expected=0)


async def _phones(stage: SystemDriver, users: list[str]) -> dict[str, str]:
    """What CRM has, once everybody's is the last one."""
    user_of = {email_of(user): user for user in users}
    async with asyncio.timeout(60):
        while True:
            phones = {
                user_of[contact["Email"]]: str(contact.get("Phone"))
                for contact in await stage.sandbox.records("crm", "contacts")
                if contact.get("Email") in user_of
            }
            if set(phones.values()) == {PHONES[-1]}:
                return phones
            await asyncio.sleep(0.3)
