"""Exchanges and queues, declared the same by every service that uses them.

Arguments are those that RabbitMQ 3.10 and 4.x take alike. A changed argument is a new queue name:
declaring a queue again with other arguments closes the channel.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel, AbstractConnection
from pamqp.common import FieldTable

from shared.messaging.handling.policy import RetryPolicy
from shared.messaging.handling.routes import COMMANDS, EVENTS, UNROUTED, WEBHOOKS, QueueConfig

UNROUTED_QUEUE: Final = "unrouted"

# Not set, 4.x drops (or dead-letters) a message that came back 20 times; lost connections count.
_DELIVERY_LIMIT: Final = 1000
_DEAD_DELIVERY_LIMIT: Final = 1_000_000


class Topology:
    """What one service needs at the broker. `await topology.declare(connection)` is repeatable."""

    def __init__(self, service: str, lanes: Sequence[QueueConfig], retry: RetryPolicy) -> None:
        self._service = service
        self._lanes = lanes
        self.retry_queues = (
            {retry_exchange(service, delay): seconds for delay, seconds in retry.delays}
            if lanes
            else {}
        )
        """By name, with how many seconds a message waits in each; none for who only sends."""

    async def declare(self, connection: AbstractConnection) -> None:
        """Declare everything; raises when the broker has a queue with other arguments."""
        async with asyncio.timeout(60), connection.channel() as channel:
            await self._exchanges(channel)
            await self._delays(channel)
            for lane in self._lanes:
                await self._lane(channel, lane)

    async def _exchanges(self, channel: AbstractChannel) -> None:
        """The exchanges, and where a command goes that nobody takes.

        By every service, so that a command published before all of them have started is either
        routed or kept.
        """
        await channel.declare_exchange(UNROUTED, ExchangeType.FANOUT, durable=True)
        await self._work_queue(channel, UNROUTED_QUEUE, [(UNROUTED, "")])
        await channel.declare_exchange(
            COMMANDS,
            ExchangeType.TOPIC,
            durable=True,
            arguments={"alternate-exchange": UNROUTED},
        )
        for name in (WEBHOOKS, EVENTS):
            await channel.declare_exchange(name, ExchangeType.TOPIC, durable=True)

    async def _lane(self, channel: AbstractChannel, lane: QueueConfig) -> None:
        if lane.name != UNROUTED_QUEUE:
            bindings = [(lane.exchange, key) for key in lane.routes]
            await self._work_queue(channel, lane.queue(self._service), bindings)

    async def _work_queue(
        self, channel: AbstractChannel, name: str, bindings: list[tuple[str, str]]
    ) -> None:
        dead = f"{name}.dead"
        await channel.declare_queue(
            dead,
            durable=True,
            arguments={"x-queue-type": "quorum", "x-delivery-limit": _DEAD_DELIVERY_LIMIT},
        )
        arguments = {**_dead_lettering(dead), "x-delivery-limit": _DELIVERY_LIMIT}
        queue = await channel.declare_queue(name, durable=True, arguments=arguments)
        for exchange, routing_key in bindings:
            await queue.bind(exchange, routing_key)

    async def _delays(self, channel: AbstractChannel) -> None:
        """Per service: one queue for all services would block all when one queue is missing."""
        for name, seconds in self.retry_queues.items():
            exchange = await channel.declare_exchange(name, ExchangeType.FANOUT, durable=True)
            queue = await channel.declare_queue(
                name,
                durable=True,
                # No x-dead-letter-routing-key: it keeps its own, which is its work queue's name.
                arguments={**_dead_lettering(None), "x-message-ttl": round(seconds * 1000)},
            )
            await queue.bind(exchange)


def retry_exchange(service: str, delay: str) -> str:
    """The exchange, and the queue, of one delay: `billing-worker.retry.5s`."""
    return f"{service}.retry.{delay}"


def _dead_lettering(routing_key: str | None) -> FieldTable:
    arguments: FieldTable = {
        "x-queue-type": "quorum",
        "x-dead-letter-exchange": "",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",  # which at-least-once requires
    }
    if routing_key is not None:
        arguments["x-dead-letter-routing-key"] = routing_key
    return arguments
