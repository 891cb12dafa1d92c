"""Handing over to the broker what is stored, without getting in the way of answering.

Publishing a message takes about twice the time that accepting one does. In a burst, that would be
taken from those who wait for an answer; so what is stored then stays in the outbox, and goes out at
a trickle until it is calmer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final, Self

import asyncpg
import structlog
from pydantic import SecretStr

from services.webhook_gateway.repositories.webhooks import SCHEMA
from shared.crypto.envelope import Vault
from shared.errors import Unavailable
from shared.messaging.connection import Link
from shared.messaging.gauges import Gauges
from shared.messaging.outbox import Outbox, Row
from shared.messaging.outgoing import Outgoing
from shared.messaging.policy import MessagingPolicy
from shared.messaging.publisher import Publisher
from shared.messaging.relay import Relay
from shared.messaging.topology import Topology
from shared.observability.metrics import Metrics

_MANY_A_SECOND: Final = 500
_FLUSH_S: Final = 5.0


class Pressure:
    """Whether webhooks come faster than they can be both accepted and published here."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._second = 0
        self._count = 0
        self._before = 0

    def count(self) -> None:
        """One more has come."""
        self._turn()
        self._count += 1

    @property
    def is_high(self) -> bool:
        """In this second or in the last one there were many."""
        self._turn()
        return max(self._count, self._before) > _MANY_A_SECOND

    def _turn(self) -> None:
        second = int(self._now())
        if second != self._second:
            self._before = self._count if second == self._second + 1 else 0
            self._second, self._count = second, 0


class PacedOutbox(Outbox):
    """The relay looks once a poll, and goes on at once after a full group: under pressure, no group
    is full."""

    def __init__(
        self, pool: asyncpg.Pool, vault: Vault, pressure: Pressure, *, lease_s: float
    ) -> None:
        super().__init__(pool, SCHEMA, vault, lease_s=lease_s)
        self._pressure = pressure

    async def take(self, limit: int) -> list[Row]:
        return await super().take(limit - 1 if self._pressure.is_high else limit)


class Sending:
    """The gateway's part of `shared.messaging`: it only sends. An async context manager; a broker
    that is down is waited for in the background."""

    def __init__(
        self,
        *,
        amqp_url: SecretStr,
        pool: asyncpg.Pool,
        vault: Vault,
        metrics: Metrics,
        pressure: Pressure,
    ) -> None:
        policy = MessagingPolicy()
        topology = Topology("webhook-gateway", [], policy.retry)
        link = Link(amqp_url, "webhook-gateway publish", topology.declare)
        self._publisher = Publisher(link)
        self.outbox = PacedOutbox(pool, vault, pressure, lease_s=policy.outbox_lease_s)
        self.outgoing = Outgoing(self._publisher, self.outbox)
        self._relay = Relay(self.outbox, self._publisher, poll_s=policy.relay_poll_s)
        self._parts = (link, Gauges(metrics, self.outbox, link, []), self._relay)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for part in self._parts:
                await stack.enter_async_context(part)
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

    async def _flush(self) -> None:
        """Publish what is committed; what does not go now, another replica or start relays."""
        try:
            async with asyncio.timeout(_FLUSH_S):
                await self.outgoing.idle()
                if self._publisher.is_up:
                    await self._relay.flush()
        except (TimeoutError, Unavailable):
            structlog.get_logger().warning("stopped before the outbox was empty")
