"""Lose answers and kill desk-worker while Desk makes tickets: one ticket for each escalation."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter

import pytest

from deploy.driving.system_driver import SystemDriver
from deploy.local.stack import Stack

# What happens to the create: its answer is lost, or the worker is killed before Desk does it, while
# it does it, or after it did.
MOMENTS = ("reset_after", "hold_reset", "hold", "hold_after")
HELD = MOMENTS[1:]


@pytest.mark.parametrize(
    "rounds",
    [
        pytest.param(1, id="4 tickets"),
        pytest.param(25, id="100 tickets", marks=pytest.mark.chaos),
    ],
)
async def test_one_ticket_whenever_the_answer_is_lost_or_the_worker_killed(
    stack: Stack, stage: SystemDriver, rounds: int
) -> None:
    one_ticket = Counter[str]()
    for _ in range(rounds):
        ids = {moment: f"e-{moment}-{uuid.uuid4().hex[:12]}" for moment in MOMENTS}
        await _escalate_at(stage, ids)

        killed = stack.kill("desk-worker")
        state = await stage.sandbox.state()
        made = Counter(ticket["subject"] for ticket in state["desk"]["tickets"])
        # The moments were hit: so much was made when the worker died.
        assert [made[ids[moment]] for moment in HELD] == [0, 0, 1]
        assert not _announced(stage, ids, HELD)
        await stage.sandbox.clear_faults()
        await asyncio.to_thread(stack.wait_ready, "desk-worker", not_pid=killed)

        for escalation_id in ids.values():
            await stage.event("ticket.created.v1", escalation_id=escalation_id)
        tickets = await stage.sandbox.records("desk", "tickets")
        made = Counter(ticket["subject"] for ticket in tickets)
        announced = _announced(stage, ids, MOMENTS)
        one_ticket.update(
            moment for moment, name in ids.items() if made[name] == announced[name] == 1
        )

    print(f"\none ticket, announced once, of {rounds} each: {dict(one_ticket)}")
    assert one_ticket == dict.fromkeys(MOMENTS, rounds)


async def _escalate_at(stage: SystemDriver, ids: dict[str, str]) -> None:
    """Publish one escalation for each moment, and return once each is at its moment."""
    start = (await stage.sandbox.requests())[-1]["id"]
    for moment, escalation_id in ids.items():
        await stage.sandbox.fault(
            "desk", moment, operation="create_ticket", body_contains=escalation_id, times=1
        )
    for escalation_id in ids.values():
        await stage.publish(
            "support.escalated.v1",
            {
                "escalation_id": escalation_id,
                "email": f"{escalation_id}@example.com",
                "subject": escalation_id,
                "description": "Help",
                "transcript": "user: help",
            },
        )
    async with asyncio.timeout(60):
        while not await _all_at_their_moments(stage, start):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)


async def _all_at_their_moments(stage: SystemDriver, start: int) -> bool:
    """Whether one answer was lost, and the other creates are held."""
    held = (await stage.sandbox.state())["held"]
    creates = await stage.sandbox.requests(product="desk", operation="create_ticket", since=start)
    return len(held) == len(HELD) and "reset_after" in [call["fault"] for call in creates]


def _announced(stage: SystemDriver, ids: dict[str, str], moments: tuple[str, ...]) -> Counter[str]:
    names = {ids[moment] for moment in moments}
    seen = {
        (body["escalation_id"], body["event_id"])
        for key, body in stage.events
        if key == "ticket.created.v1" and body["escalation_id"] in names
    }
    return Counter(name for name, _ in seen)
