"""Exchanges and queues, declared the same by every service that uses them.

Arguments are those that RabbitMQ 3.10 and 4.x take alike. A changed argument is a new queue name:
declaring a queue again with other arguments closes the channel.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel, AbstractConnection
from pamqp.common import FieldTable

from shared.messaging.handling.routes import COMMANDS, EVENTS, UNROUTED, WEBHOOKS, Routes

POISON: Final = ".poison"
"""How the names of the queues end to which the broker dead-letters."""

UNROUTED_QUEUE: Final = "unrouted.intake"
UNROUTED_POISON: Final = f"unrouted{POISON}"

PREFETCH: Final = 128
"""Of every intake, of every version: a standby with another one would change the order.

A change of it is a new queue name. With bodies of 2 MiB it bounds what a process holds in memory.
"""

# Each death of a process counts against everything it held, so this is far beyond what neighbours
# of a bad message see. Not set, 4.x gives up a message that came back 20 times.
_DELIVERY_LIMIT: Final = 1000


class Topology:
    """What one service needs at the broker. `await topology.declare(connection)` is repeatable."""

    def __init__(self, service: str, routes: Routes) -> None:
        self._service = service
        self._routes = routes

    @property
    def queues(self) -> list[str]:
        """The queues that the service's intake drains, the poison queues last."""
        names = [self._queue(kind) for kind, keys in self._kinds() if keys]
        poison = [f"{self._service}{POISON}"] if names else []
        if self._routes.unrouted:
            names.append(UNROUTED_QUEUE)
            poison.append(UNROUTED_POISON)
        return names + poison

    async def declare(self, connection: AbstractConnection) -> None:
        """Declare everything. Raises when the broker has a queue with other arguments."""
        async with asyncio.timeout(60), connection.channel() as channel:
            await self._exchanges(channel)
            for kind, keys in self._kinds():
                if keys:
                    bindings = [(_EXCHANGES[kind], key) for key in keys]
                    poison = f"{self._service}{POISON}"
                    await _intake_queue(channel, self._queue(kind), poison, bindings)

    async def _exchanges(self, channel: AbstractChannel) -> None:
        """The exchanges, and where a command goes that nobody takes.

        By every service, so that a command published before all of them have started is either
        routed or kept.
        """
        await channel.declare_exchange(UNROUTED, ExchangeType.FANOUT, durable=True)
        await _intake_queue(channel, UNROUTED_QUEUE, UNROUTED_POISON, [(UNROUTED, "")])
        await channel.declare_exchange(
            COMMANDS,
            ExchangeType.TOPIC,
            durable=True,
            arguments={"alternate-exchange": UNROUTED},
        )
        for name in (WEBHOOKS, EVENTS):
            await channel.declare_exchange(name, ExchangeType.TOPIC, durable=True)

    def _kinds(self) -> Iterable[tuple[str, list[str]]]:
        yield "commands", [*self._routes.commands]
        yield "webhooks", [*self._routes.webhooks]
        yield "events", [*self._routes.events]

    def _queue(self, kind: str) -> str:
        return f"{self._service}.intake.{kind}"


_EXCHANGES: Final = {"commands": COMMANDS, "webhooks": WEBHOOKS, "events": EVENTS}


async def _intake_queue(
    channel: AbstractChannel, name: str, poison: str, bindings: list[tuple[str, str]]
) -> None:
    await channel.declare_queue(
        poison, durable=True, arguments={"x-queue-type": "quorum", **_ONE_CONSUMER}
    )
    arguments: FieldTable = {
        "x-queue-type": "quorum",
        **_ONE_CONSUMER,
        "x-delivery-limit": _DELIVERY_LIMIT,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": poison,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",  # which at-least-once requires
    }
    queue = await channel.declare_queue(name, durable=True, arguments=arguments)
    for exchange, routing_key in bindings:
        await queue.bind(exchange, routing_key)


# Replicas stand by: what one consumer takes is in the order of the queue.
_ONE_CONSUMER: Final[FieldTable] = {"x-single-active-consumer": True}
