"""Exchanges and queues, declared the same by every service that uses them.

Arguments are those that RabbitMQ 3.10 and 4.x take alike. A changed argument is a new queue name:
declaring a queue again with other arguments closes the channel.

What the broker refuses is named and stops nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from itertools import cycle
from typing import Final

import structlog
from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import (
    ChannelAccessRefused,
    ChannelClosed,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
)
from pamqp.common import FieldTable

from shared.errors import Unavailable
from shared.messaging.broker.bindings import Binding, Bindings
from shared.messaging.handling.routes import COMMANDS, EVENTS, UNROUTED, WEBHOOKS, Routes

_log = structlog.get_logger(__name__)

POISON: Final = ".poison"
"""How the names of the queues end to which the broker dead-letters."""

UNROUTED_QUEUE: Final = "unrouted.intake"
UNROUTED_POISON: Final = f"unrouted{POISON}"

# The library counts from 1 where it is given no number.
WORKING_CHANNELS: Final = range(100, 1000)
DECLARING_CHANNELS: Final = range(1000, 2000)  # a broker allows 2047 unless it is told otherwise

PREFETCH: Final = 128
"""Of every intake, of every version: a standby with another one would change the order.

A change of it is a new queue name. With bodies of 2 MiB it bounds what a process holds in memory.
"""

# Each death of a process counts against everything it held, so this is far beyond what neighbours
# of a bad message see. Not set, 4.x gives up a message that came back 20 times.
_DELIVERY_LIMIT: Final = 1000


QUEUE_PERMISSIONS: Final = "configure, and read for its dead letters"
"""What declaring a queue asks for."""


class Topology:
    """What one service needs at the broker. `await topology.declare(connection)` is repeatable.

    Args:
        bindings: where those of all services are kept. Without it, only the service's own are made.
    """

    def __init__(self, service: str, routes: Routes, bindings: Bindings | None = None) -> None:
        self._service = service
        self._routes = routes
        self._bindings = bindings
        self._refused: dict[str, str] = {}
        # The library reuses the number of a channel that the broker closed before it has answered
        # that. Whoever opens one at that moment would lose the connection.
        self._channel_numbers = cycle(DECLARING_CHANNELS)

    @property
    def queues(self) -> list[str]:
        """The queues that the service's intake drains, the poison queues last."""
        names = [self._queue(kind) for kind, keys in self._kinds() if keys]
        poison = [f"{self._service}{POISON}"] if names else []
        if self._routes.unrouted:
            names.append(UNROUTED_QUEUE)
            poison.append(UNROUTED_POISON)
        return names + poison

    def refused(self, name: str) -> str | None:
        """Why the broker refused the queue or exchange when it was last declared, if it did."""
        return self._refused.get(name)

    async def declare(self, connection: AbstractConnection) -> None:
        """Declare everything. What the broker refuses is logged by its name, once, and left out."""
        refused: dict[str, str] = {}
        async with asyncio.timeout(60), AsyncExitStack() as stack:
            declarations = _Declarations(
                lambda: connection.channel(next(self._channel_numbers)), stack, refused
            )
            await self._declare_exchanges(declarations)
            own = [
                Binding(self._queue(kind), _EXCHANGES[kind], key)
                for kind, keys in self._kinds()
                for key in keys
            ]
            for queue in dict.fromkeys(binding.queue for binding in own):
                await declarations.queue(queue, f"{self._service}{POISON}")
            for binding in own:
                await declarations.bind(binding)
            for binding in await self._of_others(own):
                await declarations.bind(binding, is_own=False)
        for name, reason in refused.items():
            if self._refused.get(name) != reason:
                _log.error("the broker refuses a declaration", declared=name, reason=reason)
        self._refused = refused

    async def _declare_exchanges(self, declarations: _Declarations) -> None:
        """The exchanges, and where a command goes that nobody takes.

        By every service, so that a command published before all of them have started is either
        routed or kept.
        """
        await declarations.exchange(UNROUTED, ExchangeType.FANOUT)
        await declarations.queue(UNROUTED_QUEUE, UNROUTED_POISON)
        await declarations.bind(Binding(UNROUTED_QUEUE, UNROUTED, ""))
        await declarations.exchange(
            COMMANDS, ExchangeType.TOPIC, arguments={"alternate-exchange": UNROUTED}
        )
        for name in (WEBHOOKS, EVENTS):
            await declarations.exchange(name, ExchangeType.TOPIC)

    async def _of_others(self, own: list[Binding]) -> list[Binding]:
        """What other services, or another version of this one, have bound."""
        if self._bindings is None:
            return []
        try:
            if own:
                await self._bindings.record(own)
            return sorted({*await self._bindings.all()} - {*own})
        except Unavailable:  # those of this service work, and the others' are made again later
            return []

    def _kinds(self) -> Iterable[tuple[str, list[str]]]:
        yield "commands", [*self._routes.commands]
        yield "webhooks", [*self._routes.webhooks]
        yield "events", [*self._routes.events]

    def _queue(self, kind: str) -> str:
        return f"{self._service}.intake.{kind}"


_EXCHANGES: Final = {"commands": COMMANDS, "webhooks": WEBHOOKS, "events": EVENTS}


def refusal(error: ChannelClosed) -> str:
    """What the broker says: the queue or exchange, and the argument or the right that is wrong."""
    return str(error.args[-1]) if error.args else type(error).__name__


class _Declarations:
    """Declares on one channel, and on another one after the broker closed it for a refusal."""

    def __init__(
        self,
        new_channel: Callable[[], AbstractChannel],
        stack: AsyncExitStack,
        refused: dict[str, str],
    ) -> None:
        self._new_channel = new_channel
        self._stack = stack
        self._refused = refused
        self._channel: AbstractChannel | None = None

    async def exchange(
        self, name: str, kind: ExchangeType, arguments: FieldTable | None = None
    ) -> None:
        await self._attempt(
            name,
            "configure",
            lambda channel: channel.declare_exchange(name, kind, durable=True, arguments=arguments),
        )

    async def queue(self, name: str, poison: str) -> None:
        """An intake queue, and the one to which the broker dead-letters from it."""
        await self._queue(poison, queue_arguments(poison, poison))
        await self._queue(name, queue_arguments(name, poison))

    async def _queue(self, name: str, arguments: FieldTable) -> None:
        await self._attempt(
            name,
            QUEUE_PERMISSIONS,
            lambda channel: channel.declare_queue(name, durable=True, arguments=arguments),
        )

    async def bind(self, binding: Binding, *, is_own: bool = True) -> None:
        name, exchange, routing_key = binding
        if name in self._refused or exchange in self._refused:
            return

        async def declare(channel: AbstractChannel) -> None:
            queue = await channel.get_queue(name, ensure=False)
            await queue.bind(exchange, routing_key)

        before = dict(self._refused)
        await self._attempt(name, f"write, and read of {exchange}", declare)
        if not is_own:  # its owner reports it, if that one exists at all
            self._refused.clear()
            self._refused.update(before)

    async def _attempt(
        self,
        name: str,
        permission: str,
        declare: Callable[[AbstractChannel], Awaitable[object]],
    ) -> None:
        if self._channel is None:
            self._channel = channel = self._new_channel()
            await channel.initialize()
            self._stack.push_async_callback(channel.close)
        try:
            await declare(self._channel)
        except ChannelAccessRefused as error:
            self._refused[name] = f"{refusal(error)} (permission: {permission})"
            self._channel = None
        except (ChannelPreconditionFailed, ChannelNotFoundEntity) as error:
            self._refused[name] = refusal(error)
            self._channel = None


def queue_arguments(name: str, poison: str) -> FieldTable:
    """The arguments of an intake queue, or of the poison queue itself."""
    if name == poison:
        # Behind it there is nothing: what the broker gives up here is lost.
        return {
            "x-queue-type": "quorum",
            **_ONE_CONSUMER,
            "x-delivery-limit": _DELIVERY_LIMIT,
        }
    return {
        "x-queue-type": "quorum",
        **_ONE_CONSUMER,
        "x-delivery-limit": _DELIVERY_LIMIT,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": poison,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",  # which at-least-once requires
    }


# Replicas stand by: what one consumer takes is in the order of the queue.
_ONE_CONSUMER: Final[FieldTable] = {"x-single-active-consumer": True}
