"""Lose answers and kill workers while Zoho makes something: exactly one is made."""

from __future__ import annotations

import asyncio
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import cast
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit

import pytest

from deploy.driving.system_driver import SystemDriver
from deploy.local.stack import Stack
from services.zoho_sandbox.driver import Json
from tests.chaos.hearing import Hearing
from tests.kit.people import email_of, sign_up_of
from tests.kit.scrape import total
from tests.kit.servers import Management
from tests.kit.whole_system import more_replicas

WORKERS = ("billing-worker", "desk-worker")
OPERATIONS = (
    ("billing", "create_customer"),
    ("billing", "create_subscription"),
    ("desk", "create_ticket"),
)


@dataclass(frozen=True)
class Creates:
    """A customer, a subscription and a ticket to be made, each for a user of its own."""

    signing_up: str
    subscribing: str
    asking: str

    @classmethod
    def new(cls) -> Creates:
        tail = uuid.uuid4().hex[:8]
        return cls(f"u-{tail}", f"s-{tail}", f"e-{tail}")

    async def prepare(self, stage: SystemDriver) -> None:
        """The subscriber has a customer already: one create for each user is enough."""
        user_id = f"u-{self.subscribing}"
        await stage.publish("user.signed_up.v1", sign_up_of(user_id))
        await stage.event("customer.created.v1", user_id=user_id)

    async def publish(self, stage: SystemDriver) -> None:
        await stage.publish("user.signed_up.v1", sign_up_of(self.signing_up))
        await stage.publish(
            "subscription.requested.v1",
            {
                "user_id": f"u-{self.subscribing}",
                "subscription_id": self.subscribing,
                "plan_code": "basic-monthly",
            },
        )
        await stage.publish(
            "support.escalated.v1",
            {
                "escalation_id": self.asking,
                "email": f"{self.asking}@example.com",
                "subject": f"About {self.asking}",
                "description": "Help",
                "transcript": "user: help",
            },
        )

    async def announced(self, stage: SystemDriver) -> None:
        await stage.event("customer.created.v1", user_id=self.signing_up)
        await stage.event("subscription.changed.v1", subscription_id=self.subscribing)
        await stage.event("ticket.created.v1", escalation_id=self.asking)

    async def held(self, stage: SystemDriver) -> tuple[int, int, int]:
        """Count their customers, subscriptions and tickets at Zoho."""
        return self.held_in(await stage.sandbox.state())

    def held_in(self, state: Json) -> tuple[int, int, int]:

        def count(product: str, kind: str, ours: Callable[[Json], bool]) -> int:
            return sum(map(ours, state[product][kind]))

        return (
            count("billing", "customers", lambda c: c["email"] == email_of(self.signing_up)),
            count("billing", "subscriptions", lambda s: s.get("reference_id") == self.subscribing),
            count("desk", "tickets", lambda t: t["subject"] == f"About {self.asking}"),
        )

    def announcements(self, stage: SystemDriver) -> list[int]:
        """Count the announcements of each creation."""
        wanted = (
            ("customer.created.v1", "user_id", self.signing_up),
            ("ticket.created.v1", "escalation_id", self.asking),
        )
        return [
            len({b["event_id"] for k, b in stage.events if k == key and b[field] == value})
            for key, field, value in wanted
        ]


async def test_an_answer_lost_after_zoho_did_it_makes_no_second_one(stage: SystemDriver) -> None:
    creates = Creates.new()
    await creates.prepare(stage)
    start = max(request["id"] for request in await stage.sandbox.requests())
    for product, operation in OPERATIONS:
        await stage.sandbox.fault(product, "reset_after", operation=operation, times=1)

    await creates.publish(stage)

    await creates.announced(stage)
    assert await creates.held(stage) == (1, 1, 1)
    assert creates.announcements(stage) == [1, 1]
    calls = await stage.sandbox.requests(since=start)
    hit = [call["operation"] for call in calls if call["fault"] == "reset_after"]
    assert sorted(hit) == sorted(operation for _, operation in OPERATIONS)


@pytest.mark.parametrize(
    ("moment", "made_before_the_kill"),
    [
        pytest.param("hold_reset", 0, id="before Zoho does it", marks=pytest.mark.chaos),
        pytest.param("hold", 0, id="while Zoho does it"),
        pytest.param("hold_after", 1, id="after Zoho did it", marks=pytest.mark.chaos),
    ],
)
async def test_a_worker_killed_makes_no_second_one(
    stack: Stack, stage: SystemDriver, moment: str, made_before_the_kill: int
) -> None:
    creates = Creates.new()
    await creates.prepare(stage)
    requests = await _held_at(stage, creates, moment)

    killed = {worker: stack.kill(worker) for worker in WORKERS}
    # The moment was hit: Zoho still has the requests in hand, nobody heard an answer, and as much
    # was made as we say.
    state = await stage.sandbox.state()
    assert {request["id"] for request in requests} <= set(state["held"])
    assert creates.held_in(state) == (made_before_the_kill,) * 3
    assert creates.announcements(stage) == [0, 0]
    await stage.sandbox.clear_faults()

    for worker, pid in killed.items():
        await asyncio.to_thread(stack.wait_ready, worker, not_pid=pid)
    await creates.announced(stage)
    assert await creates.held(stage) == (1, 1, 1)
    assert creates.announcements(stage) == [1, 1]


@pytest.mark.chaos
async def test_a_lease_that_lapses_while_its_holder_waits_makes_no_second_one(
    stack: Stack, stage: SystemDriver
) -> None:
    creates = Creates.new()
    await creates.prepare(stage)
    await _held_at(stage, creates, "hold_after")

    async with AsyncExitStack() as replicas:
        with _frozen(stack):  # they wait for their answers, and renew no lease
            await asyncio.to_thread(_lose_connections, stack)
            await replicas.enter_async_context(more_replicas(stack, WORKERS))
            await creates.announced(stage)  # by the second replicas: the first ones cannot
            await stage.sandbox.clear_faults()
        try:
            for worker in WORKERS:  # which get their answers now
                await asyncio.to_thread(stack.stop_process, worker)  # they finish what they began
        finally:
            for worker in WORKERS:
                await asyncio.to_thread(stack.start_process, worker)

    assert await creates.held(stage) == (1, 1, 1)
    assert creates.announcements(stage) == [1, 1]


@pytest.mark.chaos
async def test_what_is_committed_and_not_published_is_announced_after_a_kill(
    stack: Stack, stage: SystemDriver
) -> None:
    tail = uuid.uuid4().hex[:12]
    async with Hearing(stack, "customer.created.v1") as created:
        await stage.sandbox.fault("billing", "hold", operation="create_customer", times=1)
        await stage.publish("user.signed_up.v1", sign_up_of(tail))
        await stage.sandbox.wait_until_held("billing", "create_customer")
        await asyncio.to_thread(stack.stop_process, "rabbitmq")
        await stage.sandbox.clear_faults()
        async with asyncio.timeout(30):
            while not total(stack, "billing-worker", "outbox_pending"):  # noqa: ASYNC110
                await asyncio.sleep(0.1)

        killed = stack.kill("billing-worker")
        await asyncio.to_thread(stack.start_process, "rabbitmq")
        await asyncio.to_thread(stack.wait_ready, "billing-worker", not_pid=killed)

        told = await created.counts(lambda event: event["user_id"], at_least=[tail])
        assert told[tail] == 1
    customers = await stage.sandbox.records("billing", "customers")
    assert [c["email"] for c in customers].count(email_of(tail)) == 1


async def _held_at(stage: SystemDriver, creates: Creates, moment: str) -> list[Json]:
    """Publish, and return once all three creates are held at Zoho at this moment."""
    for product, operation in OPERATIONS:
        await stage.sandbox.fault(product, moment, operation=operation, times=1)
    await creates.publish(stage)
    return [
        await stage.sandbox.wait_until_held(product, operation) for product, operation in OPERATIONS
    ]


@contextmanager
def _frozen(stack: Stack) -> Iterator[None]:
    pids = [pid for worker in WORKERS if (pid := stack.pid(worker)) is not None]
    assert len(pids) == len(WORKERS)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def _lose_connections(stack: Stack) -> None:
    """Do what the broker does with a client that it has not heard of for long."""
    api = urlsplit(stack.env["RABBITMQ_API_URL"])
    broker = Management(f"http://{api.hostname}:{api.port}", api.username or "", api.password or "")
    left = {f"{worker} intake" for worker in WORKERS}
    by = time.monotonic() + 30
    while left:  # what is new is listed, and what is gone is not, a few seconds later
        assert time.monotonic() < by, f"the broker does not list {left}"
        for connection in cast("list[Json]", broker.call("GET", "connections")):
            name = connection.get("client_properties", {}).get("connection_name")
            if name in left:
                with suppress(HTTPError):
                    broker.call("DELETE", f"connections/{quote(connection['name'])}")
                    left.remove(name)
        time.sleep(0.2)
