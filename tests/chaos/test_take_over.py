"""What a replica had in hand is taken over: within 5 s when it is killed, 30 s when it hangs."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import pytest

from deploy.driving.system_driver import SystemDriver
from deploy.local.stack import Stack
from tests.kit.people import sign_up_of

KILLED_S, HANGING_S = 5.0, 30.0

Halt = Callable[[int], None]


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def freeze(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)


@pytest.fixture
async def first(stack: Stack) -> AsyncIterator[int]:
    """The pid of the replica that has everything in hand when the second one starts."""
    pid = stack.pid("billing-worker")
    assert pid is not None
    yield pid
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
    await asyncio.to_thread(stack.wait_ready, "billing-worker")
    await asyncio.to_thread(stack.stop_process, "billing-worker", 2)


@pytest.mark.parametrize(
    ("halt", "within_s"),
    [
        pytest.param(kill, KILLED_S, id="killed"),
        pytest.param(freeze, HANGING_S, id="hangs", marks=pytest.mark.chaos),
    ],
)
async def test_a_leased_message_is_taken_over(
    stack: Stack, stage: SystemDriver, first: int, halt: Halt, within_s: float
) -> None:
    user_id = f"u-{uuid.uuid4().hex[:12]}"
    await stage.sandbox.fault("billing", "hold", operation="list_customers", times=1)
    await stage.publish("user.signed_up.v1", sign_up_of(user_id))
    held = await stage.sandbox.wait_until_held("billing", "list_customers")
    await asyncio.to_thread(stack.start_process, "billing-worker", 2)

    halt(first)
    await stage.sandbox.wait_for_request(
        "billing", "list_customers", since=held["id"], timeout_s=within_s
    )

    await stage.event("customer.created.v1", user_id=user_id)


@pytest.mark.parametrize(
    ("halt", "within_s"),
    [
        pytest.param(kill, KILLED_S, id="killed"),
        pytest.param(freeze, HANGING_S, id="hangs", marks=pytest.mark.chaos),
    ],
)
async def test_a_queue_is_taken_over(
    stack: Stack, stage: SystemDriver, first: int, halt: Halt, within_s: float
) -> None:
    await asyncio.to_thread(stack.start_process, "billing-worker", 2)
    user_ids = [f"u-{uuid.uuid4().hex[:12]}" for _ in range(10)]

    halt(first)
    for user_id in user_ids:
        await stage.publish("user.signed_up.v1", sign_up_of(user_id))

    stage.patience_s = within_s
    await stage.event("customer.created.v1", user_id=user_ids[0])
    stage.patience_s = KILLED_S
    for user_id in user_ids:
        await stage.event("customer.created.v1", user_id=user_id)
