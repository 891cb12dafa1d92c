"""Keep the mark of a service's database at the broker, outside of what a restore sets back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final
from uuid import uuid4

import orjson
from aio_pika.abc import AbstractConnection
from aiormq.channel import Channel
from pydantic import SecretStr

from shared.messaging.broker.connection import BROKER_ERRORS, ReconnectingConnection
from shared.messaging.broker.publisher import Publisher
from shared.messaging.messages.outgoing_message import OutgoingMessage

# Replicas publish side by side, so the newest message need not hold the highest mark.
_KEPT: Final = 16
_ANSWER_S: Final = 5.0


def mark_queue_of(service: str) -> str:
    return f"{service}.mark"


class MarkQueue:
    """A short durable queue, `<service>.mark`. Nobody consumes it."""

    def __init__(
        self, service: str, amqp_url: SecretStr, *, declared: Callable[[], None] = lambda: None
    ) -> None:
        """`declared` is called when the queue was declared, and may therefore be a new one."""
        self._queue = mark_queue_of(service)
        self._declared = declared
        self.link = ReconnectingConnection(amqp_url, f"{service} mark", self.declare)
        self._publisher = Publisher(self.link)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[int | None]:
        """The highest mark there. None without any.

        What was read lies there again after the block, beside what was published in it. One reader
        at a time, because another one finds nothing meanwhile.
        Raises one of BROKER_ERRORS when the connection is lost.
        """
        channel = await self.link.channel(confirms=False)
        try:
            async with asyncio.timeout(_ANSWER_S):
                highest = await self._highest(channel)
            yield highest
        finally:
            with suppress(*BROKER_ERRORS):
                async with asyncio.timeout(_ANSWER_S):
                    # By itself, closing gives back what was taken too, but only a moment later.
                    await channel.basic_nack(0, multiple=True, requeue=True)
                    await channel.close()

    async def publish(self, mark: int) -> None:
        """Return once the broker has it. Raises `Unavailable`."""
        message = OutgoingMessage("", self._queue, str(uuid4()), orjson.dumps({"mark": mark}))
        await self._publisher.publish(message)

    async def _highest(self, channel: Channel) -> int | None:
        highest: int | None = None
        while True:
            got = await channel.basic_get(self._queue, no_ack=False)
            if got.delivery_tag is None:
                return highest
            mark = int(orjson.loads(got.body)["mark"])
            highest = mark if highest is None else max(highest, mark)

    async def declare(self, connection: AbstractConnection) -> None:
        """Declare the queue. Repeatable."""
        async with connection.channel() as channel:
            await channel.declare_queue(
                self._queue,
                durable=True,
                arguments={
                    "x-queue-type": "quorum",
                    "x-max-length": _KEPT,
                    "x-overflow": "drop-head",
                    # It comes back at each start of a service. Not set, 4.x drops it the 21st time.
                    "x-delivery-limit": 1_000_000,
                },
            )
        self._declared()
