"""Measure how soon a payment reaches Zoho while thousands of sign-ups wait for quota."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

import aio_pika
import asyncpg
import orjson
import pytest
from aio_pika.abc import AbstractExchange

from deploy.driving.system_driver import SystemDriver
from deploy.local.stack import Stack
from tests.bench.figures import Figure, Figures
from tests.kit.people import sign_up_of

WAITING: Final = int(os.environ.get("BENCH_WAITING", "20000"))
PAYMENTS: Final = 12
# Two calls each, and 20 of a minute's 100 are kept for them: quota remains for every one.
PAUSE_S: Final = 8.0

pytestmark = pytest.mark.bench


async def test_a_payment_beside_sign_ups_that_wait(stack: Stack, figures: Figures) -> None:
    url = stack.env["AMQP_URL"]
    async with (
        SystemDriver(url, stack.env["SANDBOX_URL"]) as stage,
        await aio_pika.connect(url) as connection,
    ):
        commands = await (await connection.channel()).get_exchange("zoho.commands")
        await _publish(commands, "user.signed_up.v1", sign_up_of("payer"))
        await stage.event("customer.created.v1", user_id="payer")
        for start in range(0, WAITING, 500):
            await asyncio.gather(
                *(
                    _publish(commands, "user.signed_up.v1", sign_up_of(f"waiting-{number}"))
                    for number in range(start, min(start + 500, WAITING))
                )
            )
        await _until_open(stack, WAITING * 8 // 10)

        published = []
        for number in range(PAYMENTS):
            published.append(time.time())
            await _publish(commands, "payment.record_requested.v1", _payment(number))
            await asyncio.sleep(PAUSE_S)
        for number in range(PAYMENTS):
            await stage.event("payment.succeeded.v1", payment_id=f"paid-{number}")
        requests = await stage.sandbox.requests(product="billing", operation="create_payment")

    arrived: dict[str, float] = {}
    for request in requests:
        with suppress(StopIteration):
            payment_id = next(
                f"paid-{number}" for number in range(PAYMENTS) if _names(request, number)
            )
            at = datetime.fromisoformat(request["time"]).timestamp()
            arrived.setdefault(payment_id, at)
    took = sorted(arrived[f"paid-{number}"] - at for number, at in enumerate(published))
    what = f"payment beside {WAITING:,} sign-ups to Zoho"
    figures.add(Figure(f"{what}, p50", took[len(took) // 2], "s"))
    figures.add(Figure(f"{what}, p95", took[len(took) * 95 // 100], "s", at_most=2))


def _payment(number: int) -> dict[str, Any]:
    return {
        "user_id": "payer",
        "payment_id": f"paid-{number}",
        "amount": "10.00",
        "currency": "USD",
        "mode": "cash",
    }


def _names(request: dict[str, Any], number: int) -> bool:
    body = request["body"]
    return isinstance(body, dict) and body.get("reference_number") == f"paid-{number}"


async def _publish(commands: AbstractExchange, routing_key: str, body: dict[str, Any]) -> None:
    message = aio_pika.Message(
        orjson.dumps(body),
        message_id=str(uuid.uuid4()),
        content_type="application/json",
        delivery_mode=2,
    )
    await commands.publish(message, routing_key)


async def _until_open(stack: Stack, count: int) -> None:
    connection = await asyncpg.connect(stack.env["DATABASE_URL"])
    try:
        async with asyncio.timeout(600):
            while await connection.fetchval("SELECT count(*) FROM billing.inbox") < count:  # noqa: ASYNC110
                await asyncio.sleep(0.5)
    finally:
        await connection.close()
