"""Only consume, validate and acknowledge with aio-pika: what the baseline is judged by."""

from __future__ import annotations

import asyncio
from typing import Final

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from shared.contracts.commands import InteractionRecorded
from tests.bench.workload import IN_FLIGHT, Clock, Servers, fill

QUEUE: Final = "bare"


async def run(servers: Servers, count: int, prefix: str) -> float:
    """Messages per second."""
    clock = Clock(count)
    async with await aio_pika.connect(servers.amqp_url) as consuming:
        channel = await consuming.channel()
        await channel.set_qos(prefetch_count=IN_FLIGHT)
        queue = await channel.declare_queue(
            QUEUE, durable=True, arguments={"x-queue-type": "quorum"}
        )
        await fill(servers.amqp_url, "", QUEUE, prefix, count)

        async def handle(message: AbstractIncomingMessage) -> None:
            clock.begin()
            InteractionRecorded.model_validate_json(message.body)
            await message.ack()
            clock.end()

        await queue.consume(handle)
        async with asyncio.timeout(300):
            await clock.done.wait()
    return clock.rate
