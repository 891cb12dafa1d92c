"""Restore a backup: nothing is done twice, and nothing that is published again is missing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploy.driving.system_driver import PublishedCommand, SystemDriver
from deploy.local.stack import Stack
from services.zoho_sandbox.driver import Json
from tests.chaos.effect_creates import Create, prepare
from tests.chaos.operator_command import zoho_relay
from tests.chaos.restores import (
    WORKERS,
    Backup,
    copy_of_broker,
    given_up,
    let_workers_start,
    recovery_of,
    replace_broker,
    start_workers,
    stop_workers,
    until_accepted,
    until_ready,
    until_settled,
)
from tests.kit.people import sign_up_of
from tests.kit.whole_system import stage_of

pytestmark = pytest.mark.timeout(900)


UNPROVEN = ("payment.collect_requested.v1", "outcome_unknown")
CREATING = (
    ("billing", "create_customer"),
    ("billing", "create_subscription"),
    ("billing", "create_payment"),
    ("billing", "collect_charge"),
    ("billing", "refund_payment"),
    ("desk", "create_ticket"),
    ("desk", "create_comment"),
    ("crm", "create_notes"),
)
LOOKED_FOR = (
    "create_customer",
    "create_subscription",
    "create_payment",
    "refund_payment",
    "create_ticket",
    "create_comment",
    "create_notes",
)
PLAN_CALLS = ("update_subscription", "cancel_subscription", "reactivate_subscription")


@dataclass
class Business:
    """What applications asked for, and what Zoho should hold once of it."""

    stack: Stack
    stage: SystemDriver
    others: Counter[str] = field(default_factory=Counter)  # what Zoho held before
    creates: list[Create] = field(default_factory=list)
    published: list[PublishedCommand] = field(default_factory=list)

    @classmethod
    async def begun(cls, stack: Stack, stage: SystemDriver) -> Business:
        business = cls(stack, stage)
        business.others = business.held(await stage.sandbox.state())
        return business

    async def ask(self, creates: Sequence[Create]) -> None:
        self.creates += creates
        for one in creates:
            await one.publish(self.stage)

    async def change_subscriptions(self, tail: str) -> None:
        """Of one user: one is changed, cancelled and reactivated, the other cancelled at once."""
        user_id = f"u-{tail}"
        await self.stage.publish("user.signed_up.v1", sign_up_of(user_id))
        for name in ("kept", "left"):
            body = {"user_id": user_id, "subscription_id": f"{name}-{tail}"}
            await self.stage.publish(
                "subscription.requested.v1", {**body, "plan_code": "basic-monthly"}
            )
        kept, left = {"subscription_id": f"kept-{tail}"}, {"subscription_id": f"left-{tail}"}
        for plan in ("pro-monthly", "basic-monthly", "pro-monthly"):
            await self.stage.publish(
                "subscription.change_requested.v1", {**kept, "plan_code": plan}
            )
        await self.stage.publish("subscription.cancel_requested.v1", kept)
        await self.stage.publish("subscription.reactivate_requested.v1", kept)
        at_once = {**left, "at_term_end": False}
        await self.stage.publish("subscription.cancel_requested.v1", at_once)

    async def settled(self) -> None:
        self.remember()
        await until_settled(self.stack, [one.message_id for one in self.published])

    def remember(self) -> None:
        """Keep what was published, as the outbox of an application does."""
        self.published += self.stage.published
        self.stage.published.clear()

    async def publish_all_again(self) -> None:
        for routing_key, body, message_id in self.published:
            await self.stage.publish(routing_key, body, message_id=message_id)
        self.stage.published.clear()

    def held(self, state: Json) -> Counter[str]:
        """How often Zoho holds each thing, by what it is."""
        held = Counter({f"{n} {one.name}": one.count(state) for n, one in enumerate(self.creates)})
        held.update(f"customer {row['email']}" for row in state["billing"]["customers"])
        held.update(f"contact {row['Email']}" for row in state["crm"]["contacts"])
        held.update(f"subscription {_reference(row)}" for row in state["billing"]["subscriptions"])
        held.update(f"ticket {row['subject']}" for row in state["desk"]["tickets"])
        return Counter({what: n for what, n in held.items() if what not in self.others})

    def unproven(self, creates: Sequence[Create]) -> dict[str, int]:
        """Charges asked for after the restore: nothing proves that they were not asked before."""
        return {
            f"{n} {one.name}": 0
            for n, one in enumerate(self.creates)
            if one in creates and one.name == "collect"
        }


def subscriptions_in(state: Json) -> dict[str, tuple[str, str]]:
    """Status and plan, by our id."""
    return {
        _reference(row): (row["status"], row["plan"]["plan_code"])
        for row in state["billing"]["subscriptions"]
    }


def _reference(subscription: Json) -> str:
    return str(subscription.get("reference_id") or subscription["subscription_id"])


@pytest.fixture
async def business(stack: Stack, stage: SystemDriver) -> AsyncIterator[Business]:
    yield await Business.begun(stack, stage)
    await zoho_relay(stack, "recover", "end", "--force")


async def test_a_restore_that_nobody_declared_is_noticed_and_nothing_is_done_twice(
    business: Business, tmp_path: Path
) -> None:
    stack, backup = business.stack, Backup(business.stack, tmp_path / "backup")
    early, late, later = await asyncio.gather(*(prepare(business.stage) for _ in range(3)))
    await business.ask(early)
    await business.settled()
    await backup.make()
    given_up_before = await given_up(stack)
    await business.ask(late)
    await business.ask(await prepare(business.stage))  # with customers that the backup lacks
    await business.change_subscriptions("changed")
    await business.settled()
    before = await business.stage.sandbox.state()
    await stop_workers(stack)
    calls = (await business.stage.sandbox.requests())[-1]["id"]

    await backup.restore()
    let_workers_start(stack)
    await _noticed(stack)
    assert not await _calls_since(business.stage, calls)
    begun = await zoho_relay(stack, "recover", "begin", "--since", backup.made_at.isoformat())
    assert begun.code == 0, begun.err
    await until_ready(stack)
    await business.publish_all_again()
    # The bank was surely not asked for what happened after the restore.
    happens = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    await business.ask([replace(one, body={**one.body, "occurred_at": happens}) for one in later])
    await business.settled()

    after = await business.stage.sandbox.state()
    held = business.held(after)
    assert {what: n for what, n in held.items() if n != 1} == {}
    assert business.held(before).keys() <= held.keys()
    assert subscriptions_in(before).items() <= subscriptions_in(after).items()
    assert subscriptions_in(after)["kept-changed"] == ("live", "pro-monthly")
    assert not {*PLAN_CALLS} & {*await _calls_since(business.stage, calls)}
    assert await given_up(stack) == given_up_before
    await _is_shown(business)


async def _noticed(stack: Stack) -> None:
    """A worker has noticed, and none is ready."""
    async with asyncio.timeout(60):
        while (status := await recovery_of(stack))["recovery"] is None:  # noqa: ASYNC110 - a command
            await asyncio.sleep(0.2)
    assert status["recovery"]["state"] == "noticed"
    assert "older than the mark" in status["recovery"]["reason"]
    standing = [f"{one}.1" for one in WORKERS]
    async with asyncio.timeout(60):
        while await asyncio.to_thread(stack.standing) != standing:  # noqa: ASYNC110
            await asyncio.sleep(0.2)


async def _calls_since(stage: SystemDriver, last: int) -> list[str]:
    return [one["operation"] for one in await stage.sandbox.requests(since=last)]


async def _is_shown(business: Business) -> None:
    """The operator sees what was found, what was made, and what it cost."""
    status = await recovery_of(business.stack)
    assert status["recovery"]["state"] == "open"
    found = {each["operation"]: each["found"] for each in status["effects"]}
    assert found["collect_invoice"] >= 2
    assert all(found[operation] for operation in LOOKED_FOR)
    assert sum(each["calls"] for each in status["effects"]) > len(LOOKED_FOR)


@pytest.mark.chaos
@pytest.mark.parametrize("broker", ["emptied", "older", "newer"])
async def test_whatever_became_of_the_broker_nothing_is_done_twice_nor_missing(
    stack: Stack, tmp_path: Path, broker: str
) -> None:
    """With commands of before, at and after the backup, lost answers and killed workers."""
    backup, copied = Backup(stack, tmp_path / "backup"), tmp_path / "broker"
    async with stage_of(stack) as stage:
        business = await Business.begun(stack, stage)
        early, at_backup = await _five(stage), await _five(stage)
        late, later = await _five(stage), await _five(stage)
        await business.ask(early)
        await business.settled()
        if broker == "older":
            await _waits_in_queues(business, early)
    if broker == "older":
        await _with_broker_down(stack, lambda: copy_of_broker(stack, copied))
        await start_workers(stack)
    given_up_before = await given_up(stack)
    async with stage_of(stack) as stage:
        business.stage = stage
        for product, operation in CREATING:
            await stage.sandbox.fault(product, "hold", operation=operation, times=2)
        await business.ask(at_backup)
        business.remember()
        await until_accepted(stack, [one.message_id for one in business.published])
        await backup.make()
        await stage.sandbox.clear_faults()
        await business.ask(late)
        await business.ask(await _five(stage))
        await business.change_subscriptions(f"changed-{broker}")
        await business.settled()
        before = await stage.sandbox.state()
        await stop_workers(stack)

    if broker != "newer":
        await _with_broker_down(
            stack, lambda: replace_broker(stack, copied if broker == "older" else None)
        )
    await backup.restore()
    begun = await zoho_relay(stack, "recover", "begin", "--since", backup.made_at.isoformat())
    assert begun.code == 0, begun.err
    await start_workers(stack)
    async with stage_of(stack) as stage:
        business.stage = stage
        for product, operation in CREATING:
            await stage.sandbox.fault(product, "reset_after", operation=operation, times=2)
        await business.publish_all_again()
        await business.ask(later)
        business.remember()
        for _ in range(2):
            await _kill_workers(stack)
        await business.settled()
        after = await stage.sandbox.state()
        await zoho_relay(stack, "recover", "end", "--force")

    held = business.held(after)
    assert {what: n for what, n in held.items() if n != 1} == business.unproven(later)
    assert business.held(before).keys() <= held.keys()
    assert subscriptions_in(before).items() <= subscriptions_in(after).items()
    given_up_since = await given_up(stack) - given_up_before
    assert given_up_since == {UNPROVEN: len(business.unproven(later))}


async def _five(stage: SystemDriver) -> list[Create]:
    """Five of everything that is made once, or charged."""
    return [
        one for each in await asyncio.gather(*(prepare(stage) for _ in range(5))) for one in each
    ]


async def _waits_in_queues(business: Business, creates: Sequence[Create]) -> None:
    """These commands lie at the broker once more, and nobody takes them."""
    await stop_workers(business.stack)
    for one in creates:
        await one.publish(business.stage)
    business.stage.published.clear()


async def _with_broker_down(stack: Stack, act: Callable[[], None]) -> None:
    await asyncio.to_thread(stack.stop_process, "rabbitmq")
    await asyncio.to_thread(act)
    await asyncio.to_thread(stack.start_process, "rabbitmq")


async def _kill_workers(stack: Stack) -> None:
    """SIGKILL, while commands are looked for and made."""
    await asyncio.sleep(2.0)
    killed = {worker: stack.kill(worker) for worker in WORKERS}
    for worker, pid in killed.items():
        await asyncio.to_thread(stack.wait_ready, worker, not_pid=pid)
