"""The half of messaging that sends: what is committed reaches the broker, now or later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final, Self

import structlog
from aio_pika.abc import AbstractConnection
from pydantic import SecretStr

from shared.errors import Unavailable
from shared.messaging.broker.connection import ReconnectingConnection
from shared.messaging.broker.former_queues import refuse_former_queues
from shared.messaging.broker.publisher import Publisher
from shared.messaging.broker.refused_routes import RefusedRoutes, Route
from shared.messaging.broker.topology import Topology
from shared.messaging.handling.policy import MessagingPolicy
from shared.messaging.outbox.direct_publisher import DirectPublisher
from shared.messaging.outbox.gauges import Gauges
from shared.messaging.outbox.outbox import Outbox
from shared.messaging.outbox.relay import Relay
from shared.observability.metrics import Metrics

_FLUSH_S: Final = 5.0
_START_S: Final = 5.0


class Sending:
    """An async context manager. Entered: the outbox is relayed, on a connection of its own. A
    broker that is down is waited for in the background. Left: the outbox is flushed.

    Entering it raises `CannotStart` for a broker with queues of a version before 0.1.0. When the
    broker comes up only later, nothing is sent to it, and leaving raises that.
    """

    def __init__(
        self,
        *,
        service: str,
        amqp_url: SecretStr,
        topology: Topology,
        outbox: Outbox,
        metrics: Metrics,
        policy: MessagingPolicy,
    ) -> None:
        self._service = service
        self._topology = topology
        self._link = link = ReconnectingConnection(amqp_url, f"{service} publish", self._prepare)
        self._former_queues_looked_for = False
        self.publisher = Publisher(
            link, RefusedRoutes(_count_refused(metrics), lambda route: self._relay.freed(route))
        )
        self.outbox = outbox
        self.outgoing = DirectPublisher(self.publisher, outbox)
        self._relay = Relay(outbox, self.publisher, poll_s=policy.relay_poll_s)
        self._parts = (link, Gauges(metrics, outbox), self._relay)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for part in self._parts:
                await stack.enter_async_context(part)
            await self._link.tried(_START_S)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self._flush()
        finally:
            await self._stack.aclose()

    async def _prepare(self, connection: AbstractConnection) -> None:
        if not self._former_queues_looked_for:
            await refuse_former_queues(connection, self._service)
            self._former_queues_looked_for = True
        await self._topology.declare(connection)

    async def _flush(self) -> None:
        """Publish what is committed. What does not go now, another replica or start relays."""
        try:
            async with asyncio.timeout(_FLUSH_S):
                await self.outgoing.idle()
                if self.publisher.is_up:
                    await self._relay.flush()
        except (TimeoutError, Unavailable):
            structlog.get_logger().warning("stopped before the outbox was empty")


def _count_refused(metrics: Metrics) -> Callable[[Route], None]:
    def count(route: Route) -> None:
        exchange, routing_key = route
        # Queues of replies are anybody's names.
        metrics.publishes_refused.labels(exchange, routing_key if exchange else "").inc()

    return count
