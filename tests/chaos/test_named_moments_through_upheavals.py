"""What waits for a moment that Zoho names goes on at that moment, in order, and is done once.

Through outages and deaths too. Nobody asks Zoho earlier.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain, groupby

import pytest

from deploy.driving.system_driver import SystemDriver
from deploy.local.stack import Stack
from services.zoho_sandbox.driver import Json
from tests.chaos import upheavals
from tests.chaos.accounts import Published
from tests.chaos.hearing import Hearing
from tests.chaos.open_messages import all_settled, all_wait
from tests.chaos.publisher import publish_in_turns
from tests.chaos.upheavals import Publishing, Upheaval
from tests.kit.people import email_of, sign_up_of
from tests.kit.whole_system import all_published, more_replicas

pytestmark = pytest.mark.timeout(600)

WORKER = "billing-worker"
FIRST_PHONE, LAST_PHONE = "+49 30 111111", "+49 30 222222"
PATIENCE_S = 40


@dataclass(frozen=True)
class Refusal:
    """The answer of a product whose limit is used up, which names the moment when it is not."""

    product: str
    operation: str
    code: int
    retry_after_s: int


# A minute's calls, and a day's. Longer than what is waited for in place.
REFUSALS = (
    Refusal("billing", "update_customer", code=44, retry_after_s=7),
    Refusal("books", "update_invoice_using_custom_field", code=45, retry_after_s=10),
)


@dataclass(frozen=True)
class Customer:
    user_id: str = field(default_factory=lambda: f"u-{uuid.uuid4().hex[:12]}")

    @property
    def invoice(self) -> str:
        return f"{self.user_id}-invoice"

    def commands(self) -> list[Published]:
        return [
            self.updated(FIRST_PHONE),
            self.updated(LAST_PHONE),
            self.invoiced(),
            Published(
                "invoice.void_requested.v1", {"invoice_id": self.invoice, "reason": "a test"}
            ),
        ]

    def updated(self, phone: str) -> Published:
        return Published("user.updated.v1", {"user_id": self.user_id, "phone": phone})

    def invoiced(self) -> Published:
        line = {"description": "Hours", "quantity": 1, "rate": "10.00"}
        body = {"user_id": self.user_id, "invoice_id": self.invoice, "lines": [line]}
        return Published("invoice.create_requested.v1", body)


@pytest.mark.parametrize(("replicas", "upheaval"), [(1, upheavals.killed)])
async def test_a_few_go_on_at_the_moment_that_zoho_named(
    stack: Stack, stage: SystemDriver, replicas: int, upheaval: Upheaval
) -> None:
    await _through(stack, stage, upheaval, count=5, replicas=replicas)


@pytest.mark.chaos
@pytest.mark.parametrize("upheaval", [upheavals.quiet, *upheavals.ALL])
@pytest.mark.parametrize("replicas", [1, 3])
async def test_all_go_on_in_their_order_at_the_moment_that_zoho_named(
    stack: Stack, stage: SystemDriver, replicas: int, upheaval: Upheaval
) -> None:
    await _through(stack, stage, upheaval, count=100, replicas=replicas)


async def _through(
    stack: Stack, stage: SystemDriver, upheaval: Upheaval, *, count: int, replicas: int
) -> None:
    """Two commands are refused, and those of so many users come behind them in an upheaval."""
    updated, invoiced, *customers = [Customer() for _ in range(count + 2)]
    await _settle_in(stage, [updated, invoiced, *customers])
    first = [updated.updated(LAST_PHONE), invoiced.invoiced()]
    commands = [each.commands() for each in customers]
    async with (
        Hearing(stack, "command.failed.v1") as failures,
        more_replicas(stack, [WORKER], count=replicas),
    ):
        refused = await _refused(stack, stage, first)
        publishing = Publishing()
        async with upheaval(stack, [(WORKER, 1)], publishing):
            await publish_in_turns(stack, commands, publishing)
        for command, (refusal, request) in zip(first, refused, strict=True):
            until_due_s = (_end_of(refusal, request) - datetime.now(UTC)).total_seconds()
            await all_settled(
                stack,
                "billing",
                [command.message_id],
                timeout_s=max(until_due_s, 0.0) + PATIENCE_S,
            )
        ids = [command.message_id for command in chain.from_iterable(commands)]
        await all_settled(stack, "billing", ids)
        await all_published(stack)
        failed = await failures.counts(lambda event: event["code"], at_least=())

    for refusal, request in refused:
        too_early = await _calls_before(stage, refusal, request)
        assert not too_early
    phones = await _phones_in_their_order(stage, customers)
    assert Counter(map(tuple, phones)) == {(FIRST_PHONE, LAST_PHONE): count}
    assert await _invoices(stage, [invoiced, *customers]) == Counter({"void": count, "sent": 1})
    assert not failed


async def _settle_in(stage: SystemDriver, customers: Collection[Customer]) -> None:
    """Everybody is a customer in Billing and a contact in Books."""
    for each in customers:
        await stage.publish("user.signed_up.v1", sign_up_of(each.user_id))
    for each in customers:
        await stage.event("customer.created.v1", user_id=each.user_id)
    emails = {email_of(each.user_id) for each in customers}
    async with asyncio.timeout(60):
        while not emails <= {  # noqa: ASYNC110 - another process
            contact["email"] for contact in await stage.sandbox.records("books", "contacts")
        }:
            await asyncio.sleep(0.2)


async def _refused(
    stack: Stack, stage: SystemDriver, commands: Sequence[Published]
) -> list[tuple[Refusal, Json]]:
    """Each of these is refused and waits. Returns the refusals, with the requests they answered."""
    refused = []
    for refusal, command in zip(REFUSALS, commands, strict=True):
        await stage.sandbox.post(
            "faults",
            product=refusal.product,
            operation=refusal.operation,
            kind="answer",
            status=429,
            body={"code": refusal.code, "message": "The limit is used up."},
            headers={"Retry-After": str(refusal.retry_after_s)},
            times=1,
        )
        await stage.publish(command.routing_key, command.body, message_id=command.message_id)
        await all_wait(stack, "billing", [command.message_id], "rate_limited")
        requests = await stage.sandbox.requests(
            product=refusal.product, operation=refusal.operation
        )
        refused.append((refusal, next(each for each in requests[::-1] if each["status"] == 429)))
    return refused


async def _calls_before(stage: SystemDriver, refusal: Refusal, refused: Json) -> list[str]:
    """The operations that the product was asked for between its refusal and the named moment."""
    return [
        request["operation"]
        for request in await stage.sandbox.requests(product=refusal.product, since=refused["id"])
        if datetime.fromisoformat(request["time"]) < _end_of(refusal, refused)
    ]


def _end_of(refusal: Refusal, refused: Json) -> datetime:
    return datetime.fromisoformat(refused["time"]) + timedelta(seconds=refusal.retry_after_s)


async def _phones_in_their_order(
    stage: SystemDriver, customers: Collection[Customer]
) -> list[list[str]]:
    """The phones that Billing got for each customer, repetitions in a row as one."""
    emails = {email_of(each.user_id) for each in customers}
    ours = {
        record["customer_id"]
        for record in await stage.sandbox.records("billing", "customers")
        if record["email"] in emails
    }
    sent = defaultdict(list)
    for request in await stage.sandbox.requests(product="billing", operation="update_customer"):
        customer_id = str(request["path"]).rpartition("/")[2]
        if customer_id in ours:  # others of the same system may change without a phone
            sent[customer_id].append(request["body"]["phone"])
    return [[phone for phone, _ in groupby(sent[customer_id])] for customer_id in ours]


async def _invoices(stage: SystemDriver, customers: Collection[Customer]) -> Counter[str]:
    """The statuses of all invoices that were made for these."""
    ours = {each.invoice for each in customers}
    return Counter(
        invoice["status"]
        for invoice in await stage.sandbox.records("books", "invoices")
        if any(each["value"] in ours for each in invoice.get("custom_fields") or ())
    )
