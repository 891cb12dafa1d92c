"""Measure how long a sign-up and a change take on a quiet system: to Zoho, and back."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import aio_pika
import orjson
import pytest
from aio_pika.abc import AbstractChannel, AbstractExchange

from deploy.local.stack import Stack
from services.zoho_sandbox.driver import SandboxDriver
from tests.bench.figures import Figure, Figures
from tests.kit.people import email_of, sign_up_of

USERS: Final = 60
COLD: Final = 10  # these open connections, plan statements, and mint the token
# Two calls each, and some for what the services ask by themselves: none waits for the quota.
# Uneven, so that no moment of what services do once a second is met more often than the others.
PAUSE_S: Final = (1.5, 2.5)

pytestmark = pytest.mark.bench


async def test_a_sign_up_and_a_change_on_a_quiet_system(stack: Stack, figures: Figures) -> None:
    announced: dict[str, float] = {}
    async with await aio_pika.connect(stack.env["AMQP_URL"]) as connection:
        channel = await connection.channel()
        await _hear(channel, announced)
        commands = await channel.get_exchange("zoho.commands")
        signed_up = await _paced(commands, "user.signed_up.v1", sign_up_of)
        await _until(lambda: len(announced) == USERS)
        changed = await _paced(commands, "user.updated.v1", _change)
    async with SandboxDriver(stack.env["SANDBOX_URL"]) as sandbox:
        created = await _arrivals(sandbox, "billing", "create_customer", email_of)
        upserted = await _arrivals(sandbox, "crm", "upsert_records", lambda u: _change(u)["phone"])

    for user_id in [*signed_up][:COLD]:
        del signed_up[user_id], changed[user_id]
    to_zoho, to_event = _times_ms(signed_up, created), _times_ms(signed_up, announced)
    to_crm = _times_ms(changed, upserted)
    figures.add(Figure("change to CRM, p95", _percentile(to_crm, 95), "ms", at_most=2000))
    figures.add(Figure("publish to create, p50", _percentile(to_zoho, 50), "ms"))
    figures.add(Figure("publish to create, p95", _percentile(to_zoho, 95), "ms", at_most=28.5))
    figures.add(Figure("publish to event, p50", _percentile(to_event, 50), "ms"))
    figures.add(Figure("publish to event, p95", _percentile(to_event, 95), "ms", at_most=37.5))


async def _paced(
    commands: AbstractExchange, routing_key: str, body_of: Callable[[str], dict[str, Any]]
) -> dict[str, float]:
    """Publish one command of each user, each alone. Returns when, by user."""
    published = {}
    for number in range(USERS):
        user_id = f"quick-{number}"
        message = aio_pika.Message(
            orjson.dumps(body_of(user_id)),
            message_id=str(uuid.uuid4()),
            content_type="application/json",
            delivery_mode=2,
        )
        published[user_id] = time.time()
        await commands.publish(message, routing_key)
        await asyncio.sleep(random.uniform(*PAUSE_S))  # noqa: S311 - not a secret
    return published


def _change(user_id: str) -> dict[str, Any]:
    return {"user_id": user_id, "phone": f"+49 30 {1_000_000 + int(user_id.partition('-')[2])}"}


async def _hear(channel: AbstractChannel, announced: dict[str, float]) -> None:
    """Note when each `customer.created.v1` comes."""
    queue = await channel.declare_queue(exclusive=True)
    await queue.bind("zoho.events", "customer.created.v1")

    async def note(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        announced[orjson.loads(message.body)["user_id"]] = time.time()

    await queue.consume(note, no_ack=True)


async def _arrivals(
    sandbox: SandboxDriver, product: str, operation: str, mark: Callable[[str], str]
) -> dict[str, float]:
    """When the request that says `mark` of a user reached Zoho, by user."""
    users = [f"quick-{number}" for number in range(USERS)]
    found: dict[str, float] = {}

    async def look() -> bool:
        for request in await sandbox.requests(product=product, operation=operation):
            body = str(request["body"])
            at = datetime.fromisoformat(request["time"]).timestamp()
            found.update({user: at for user in users if mark(user) in body and user not in found})
        return len(found) == USERS

    async with asyncio.timeout(120):
        while not await look():  # noqa: ASYNC110 - nothing reports it
            await asyncio.sleep(0.1)
    return found


async def _until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(120):
        while not is_so():  # noqa: ASYNC110 - nothing reports it
            await asyncio.sleep(0.1)


def _times_ms(began: dict[str, float], ended: dict[str, float]) -> list[float]:
    return [1000 * (ended[user_id] - at) for user_id, at in began.items()]


def _percentile(values: list[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
