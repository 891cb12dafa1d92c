"""Measure how long one sign-up takes on a quiet system: to Zoho, and back to the application."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import aio_pika
import orjson
import pytest
from aio_pika.abc import AbstractChannel

from deploy.local.stack import Stack
from services.zoho_sandbox.driver import SandboxDriver
from tests.bench.figures import Figure, Figures
from tests.kit.people import sign_up_of

ROOT: Final = Path(__file__).resolve().parents[2]
SIGN_UPS: Final = 50
# Two calls each, and some for what the services ask by themselves: none waits for the quota.
PAUSE_S: Final = 2.0

pytestmark = pytest.mark.bench


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    """The five services and the sandbox, as `make up` has them."""
    stack = Stack(ROOT / ".run" / "bench-latency")
    await asyncio.to_thread(stack.discard)
    await asyncio.to_thread(stack.start)
    yield stack
    await asyncio.to_thread(stack.discard)


async def test_a_sign_up_on_a_quiet_system(stack: Stack, figures: Figures) -> None:
    published: dict[str, float] = {}
    announced: dict[str, float] = {}
    async with await aio_pika.connect(stack.env["AMQP_URL"]) as connection:
        channel = await connection.channel()
        await _hear(channel, announced)
        commands = await channel.get_exchange("zoho.commands")
        for number in range(SIGN_UPS):
            user_id = f"quick-{number}"
            message = aio_pika.Message(
                orjson.dumps(sign_up_of(user_id)),
                message_id=str(uuid.uuid4()),
                content_type="application/json",
                delivery_mode=2,
            )
            published[user_id] = time.time()
            await commands.publish(message, "user.signed_up.v1")
            await asyncio.sleep(PAUSE_S)
        async with asyncio.timeout(120):
            while len(announced) < SIGN_UPS:  # noqa: ASYNC110 - the last one's event
                await asyncio.sleep(0.1)
    created = await _creates(stack)

    first = next(iter(published))  # it opens connections, and mints the token
    to_zoho = [1000 * (created[u] - at) for u, at in published.items() if u != first]
    to_event = [1000 * (announced[u] - at) for u, at in published.items() if u != first]
    figures.add(Figure("publish to create, p50", _percentile(to_zoho, 50), "ms"))
    figures.add(Figure("publish to create, p95", _percentile(to_zoho, 95), "ms", at_most=28.5))
    figures.add(Figure("publish to event, p50", _percentile(to_event, 50), "ms"))
    figures.add(Figure("publish to event, p95", _percentile(to_event, 95), "ms", at_most=37.5))


async def _hear(channel: AbstractChannel, announced: dict[str, float]) -> None:
    """Note when each `customer.created.v1` comes."""
    queue = await channel.declare_queue(exclusive=True)
    await queue.bind("zoho.events", "customer.created.v1")

    async def note(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        announced[orjson.loads(message.body)["user_id"]] = time.time()

    await queue.consume(note, no_ack=True)


async def _creates(stack: Stack) -> dict[str, float]:
    """When each user's create reached the sandbox."""
    async with SandboxDriver(stack.env["SANDBOX_URL"]) as sandbox:
        asked: list[dict[str, Any]] = await sandbox.requests(
            product="billing", operation="create_customer"
        )
    return {
        _user_in(request): datetime.fromisoformat(request["time"]).timestamp() for request in asked
    }


def _user_in(request: dict[str, Any]) -> str:
    email: str = request["body"]["email"]
    return email.removesuffix("@example.com")


def _percentile(values: list[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
