"""Publish outbox rows that nobody else will: those left by a crash or an outage of the broker."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from shared.background import PeriodicTask
from shared.errors import IntegrationError
from shared.messaging.broker.publisher import BrokerRefused, Publisher
from shared.messaging.broker.refused_routes import Route
from shared.messaging.outbox.outbox import Outbox, OutboxRow

_log = structlog.get_logger(__name__)

_GROUP: Final = 100


class Relay(PeriodicTask):
    """Takes rows in order, in groups, each group's publishes in flight together.

    Any number of replicas may relay one outbox: a row is leased by one of them at a time.
    """

    def __init__(self, outbox: Outbox, publisher: Publisher, *, poll_s: float) -> None:
        super().__init__("outbox relay", every_s=poll_s)
        self._outbox = outbox
        self._publisher = publisher
        self._freed: list[Route] = []

    def freed(self, route: Route) -> None:
        """The broker takes messages of this route again: those that wait are due at once."""
        self._freed.append(route)

    async def flush(self) -> None:
        """Publish what is due, until there is none. Raises `Unavailable`."""
        while await self._publish_group():
            pass

    async def _run_once(self) -> bool:
        await self._publisher.wait_up()
        await self.flush()
        return False

    async def _publish_group(self) -> bool:
        freed, self._freed = self._freed, []
        if freed:
            await self._outbox.hasten(freed)
        rows = await self._outbox.take(_GROUP, without=self._publisher.refused.held())
        await asyncio.gather(*map(self._publish, rows))
        return len(rows) == _GROUP

    async def _publish(self, row: OutboxRow) -> None:
        try:
            await self._publisher.publish(row.letter)
            await self._outbox.mark(row.id)
        except BrokerRefused:
            pass  # counted. It waits with the others of its route
        except IntegrationError as error:
            # Its lease brings it back, later each time.
            _log.warning(
                "an outbox row is not published",
                org=row.org,
                exchange=row.letter.exchange,
                routing_key=row.letter.routing_key,
                code=error.code,
                reason=error.reason,
            )
