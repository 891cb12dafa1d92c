"""Answers lost and workers killed while Zoho makes something: exactly one is made."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from deploy.demo.stage import Json, Stage
from deploy.local.stack import Stack
from tests.end_to_end.people import email_of, sign_up_of

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

    async def prepare(self, stage: Stage) -> None:
        """The subscriber has a customer already: one create for each user is enough."""
        user_id = f"u-{self.subscribing}"
        await stage.publish("user.signed_up.v1", sign_up_of(user_id))
        await stage.event("customer.created.v1", user_id=user_id)

    async def publish(self, stage: Stage) -> None:
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

    async def announced(self, stage: Stage) -> None:
        await stage.event("customer.created.v1", user_id=self.signing_up)
        await stage.event("subscription.changed.v1", subscription_id=self.subscribing)
        await stage.event("ticket.created.v1", escalation_id=self.asking)

    async def held(self, stage: Stage) -> tuple[int, int, int]:
        """How many customers, subscriptions and tickets Zoho has of them."""
        state = await stage.sandbox.state()

        def count(product: str, kind: str, ours: Callable[[Json], bool]) -> int:
            return sum(map(ours, state[product][kind]))

        return (
            count("billing", "customers", lambda c: c["email"] == email_of(self.signing_up)),
            count("billing", "subscriptions", lambda s: s.get("reference_id") == self.subscribing),
            count("desk", "tickets", lambda t: t["subject"] == f"About {self.asking}"),
        )

    async def announcements(self, stage: Stage) -> list[int]:
        """How often each creation was announced."""
        wanted = (
            ("customer.created.v1", "user_id", self.signing_up),
            ("ticket.created.v1", "escalation_id", self.asking),
        )
        return [
            len({b["event_id"] for k, b in stage.events if k == key and b[field] == value})
            for key, field, value in wanted
        ]


async def test_an_answer_lost_after_zoho_did_it_makes_no_second_one(stage: Stage) -> None:
    creates = Creates.new()
    await creates.prepare(stage)
    for product, operation in OPERATIONS:
        await stage.sandbox.fault(product, "reset_after", operation=operation, times=1)

    await creates.publish(stage)

    await creates.announced(stage)
    assert await creates.held(stage) == (1, 1, 1)
    assert await creates.announcements(stage) == [1, 1]
    hit = [r["operation"] for r in await stage.sandbox.requests() if r["fault"] == "reset_after"]
    assert set(hit) == {operation for _, operation in OPERATIONS}


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("hold_reset", id="before Zoho does it", marks=pytest.mark.chaos),
        pytest.param("hold", id="while Zoho does it"),
        pytest.param("hold_after", id="after Zoho did it", marks=pytest.mark.chaos),
    ],
)
async def test_a_worker_killed_makes_no_second_one(stack: Stack, stage: Stage, moment: str) -> None:
    creates = Creates.new()
    await creates.prepare(stage)
    for product, operation in OPERATIONS:
        await stage.sandbox.fault(product, moment, operation=operation, times=1)
    await creates.publish(stage)
    for product, operation in OPERATIONS:
        await stage.sandbox.wait_until_held(product, operation)

    killed = {worker: stack.kill(worker) for worker in WORKERS}
    await stage.sandbox.clear_faults()

    for worker, pid in killed.items():
        await asyncio.to_thread(stack.wait_ready, worker, not_pid=pid)
    await creates.announced(stage)
    assert await creates.held(stage) == (1, 1, 1)
    assert await creates.announcements(stage) == [1, 1]


async def test_a_lease_that_lapses_while_its_holder_waits_makes_no_second_one(
    stack: Stack, stage: Stage
) -> None:
    creates = Creates.new()
    await creates.prepare(stage)
    for product, operation in OPERATIONS:
        await stage.sandbox.fault(product, "hold", operation=operation, times=1)
    await creates.publish(stage)
    for product, operation in OPERATIONS:
        await stage.sandbox.wait_until_held(product, operation)

    frozen = [stack.pid(worker) for worker in WORKERS]
    for pid in frozen:
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
    try:
        await stage.sandbox.clear_faults()  # Zoho does it, and nobody hears the answer
        await asyncio.sleep(6)  # longer than LEASE_S: there is no event for a lease that lapses
    finally:
        for pid in frozen:
            assert pid is not None
            os.kill(pid, signal.SIGCONT)

    await creates.announced(stage)
    assert await creates.held(stage) == (1, 1, 1)
