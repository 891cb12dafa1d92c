"""Commands whose reads stay stale wait between their attempts, and are done once in the end.

Through outages and deaths too. A command whose read stays stale to the end of its wait is refused.
"""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain

import pytest

from deploy.driving.system_driver import SystemDriver
from deploy.local.stack import Stack
from tests.chaos import upheavals
from tests.chaos.accounts import Published
from tests.chaos.changing_users import changing_users
from tests.chaos.hearing import Hearing
from tests.chaos.open_messages import all_settled, all_wait, database_of
from tests.chaos.publisher import publish_in_turns
from tests.chaos.upheavals import Publishing, Upheaval
from tests.kit.people import sign_up_of
from tests.kit.whole_system import all_published, more_replicas

pytestmark = pytest.mark.timeout(600)

WORKER = "billing-worker"
OVERTAKEN = "overtaken"
# A command whose reads are stale reads so often at once, and then not for so long.
READS_AT_ONCE, THEN_WAITS_S = 5, 5.0
# An upheaval breaks off so many attempts at a command at most. Each is begun anew without a wait.
BROKEN_OFF = 3


@dataclass(frozen=True)
class Subscriber:
    """One user whose subscription is cancelled, then reactivated."""

    user_id: str = field(default_factory=lambda: f"u-{uuid.uuid4().hex[:12]}")

    @property
    def subscription(self) -> str:
        return f"{self.user_id}-kept"

    @property
    def cancel_id(self) -> str:
        return f"{self.user_id}-cancel"

    def commands(self) -> list[Published]:
        body = {"subscription_id": self.subscription}
        return [
            Published("subscription.cancel_requested.v1", body, message_id=self.cancel_id),
            Published("subscription.reactivate_requested.v1", body),
        ]


@pytest.mark.parametrize(("replicas", "upheaval"), [(3, upheavals.killed)])
async def test_the_stale_reads_of_a_few_cost_few_calls(
    stack: Stack, stage: SystemDriver, replicas: int, upheaval: Upheaval
) -> None:
    await _through(stack, stage, upheaval, count=5, replicas=replicas)


@pytest.mark.chaos
@pytest.mark.parametrize("upheaval", [upheavals.quiet, *upheavals.ALL])
@pytest.mark.parametrize("replicas", [1, 3])
async def test_stale_reads_cost_few_calls_and_what_is_asked_for_is_done_once(
    stack: Stack, stage: SystemDriver, replicas: int, upheaval: Upheaval
) -> None:
    await _through(stack, stage, upheaval, count=100, replicas=replicas)


async def _through(
    stack: Stack, stage: SystemDriver, upheaval: Upheaval, *, count: int, replicas: int
) -> None:
    """The commands come during an upheaval. Every fifth user's read is stale to the end."""
    subscribers = [Subscriber() for _ in range(count)]
    refused, done = subscribers[::5], [each for n, each in enumerate(subscribers) if n % 5]
    commands = [each.commands() for each in subscribers]
    async with _no_webhooks(stage):  # which would read the same subscriptions
        await _settle_in(stage, subscribers)
        async with (
            Hearing(stack, "command.failed.v1") as failures,
            Hearing(stack, "subscription.changed.v1") as changes,
            more_replicas(stack, [WORKER], count=replicas),
            changing_users(stack, [each.user_id for each in subscribers]) as changing,
        ):
            publishing = Publishing()
            async with upheaval(stack, [(WORKER, 1)], publishing):
                await publish_in_turns(stack, commands, publishing)
            cancellations = [each.cancel_id for each in subscribers]
            await all_wait(stack, "billing", cancellations, OVERTAKEN, again=True)
            reads = await _reads(stage, subscribers)

            await changing.only([each.user_id for each in refused])
            await _let_waits_end(stack, [each.cancel_id for each in refused])
            ids = [command.message_id for command in chain.from_iterable(commands)]
            await all_settled(stack, "billing", ids)
            await all_published(stack)
            failed = await failures.counts(
                lambda event: (event["message_id"], event["code"]), at_least=()
            )
            changed = await changes.counts(
                lambda event: (event["subscription_id"], event["status"]), at_least=()
            )
        at_zoho = await _at_zoho(stage, subscribers)

    broken_off = 0 if upheaval is upheavals.quiet else BROKEN_OFF
    print(f"\nreads of each: {dict(Counter(map(len, reads)))}")
    assert not [
        len(times)
        for times in reads
        if len(times) > READS_AT_ONCE * (_attempts_within(times) + broken_off)
    ]
    assert failed == Counter((each.cancel_id, OVERTAKEN) for each in refused)
    assert changed == Counter(
        (each.subscription, status) for each in done for status in ("non_renewing", "live")
    )
    assert set(at_zoho.values()) == {"live"}


async def _settle_in(stage: SystemDriver, subscribers: Collection[Subscriber]) -> None:
    """Everybody has a subscription."""
    for each in subscribers:
        await stage.publish("user.signed_up.v1", sign_up_of(each.user_id))
        body = {"user_id": each.user_id, "subscription_id": each.subscription}
        await stage.publish("subscription.requested.v1", {**body, "plan_code": "basic-monthly"})
    for each in subscribers:
        await stage.event("subscription.changed.v1", subscription_id=each.subscription)


async def _let_waits_end(stack: Stack, message_ids: Sequence[str]) -> None:
    """As if they had waited for the week that a wait for time may last."""
    async with database_of(stack) as database:
        await database.execute(
            "UPDATE billing.inbox SET counted_s = end_s WHERE message_id = ANY ($1)", message_ids
        )


async def _reads(stage: SystemDriver, subscribers: Collection[Subscriber]) -> list[list[datetime]]:
    """When Zoho was asked for each subscription."""
    asked = defaultdict(list)
    for request in await stage.sandbox.requests(
        product="billing", operation="retrieve_subscription"
    ):
        zoho_id = str(request["path"]).rpartition("/")[2]
        asked[zoho_id].append(datetime.fromisoformat(request["time"]))
    return [asked[zoho_id] for zoho_id in await _at_zoho(stage, subscribers)]


async def _at_zoho(stage: SystemDriver, subscribers: Collection[Subscriber]) -> dict[str, str]:
    """The status of each subscription, by Zoho's id."""
    ours = {each.subscription for each in subscribers}
    return {
        record["subscription_id"]: record["status"]
        for record in await stage.sandbox.records("billing", "subscriptions")
        if record.get("reference_id") in ours
    }


def _attempts_within(times: Sequence[datetime]) -> int:
    """How many attempts the waits between them allow from the first read to the last."""
    return int((times[-1] - times[0]).total_seconds() / THEN_WAITS_S) + 1


@asynccontextmanager
async def _no_webhooks(stage: SystemDriver) -> AsyncIterator[None]:
    await stage.sandbox.set_delivery_faults(drop=1)
    try:
        yield
    finally:
        await stage.sandbox.set_delivery_faults()
