"""Publishes what was just committed. What fails here is left to the relay."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from shared.errors import Unavailable
from shared.messaging.broker.publisher import BrokerRefused, Publisher
from shared.messaging.outbox.outbox import Outbox, OutboxRow

_log = structlog.get_logger(__name__)

# Beyond this the broker is slower than we are: the rest waits in the outbox, not in memory.
_MAX_IN_FLIGHT: Final = 1000


class DirectPublisher:
    """The short way out of the outbox: from memory, without reading it back."""

    def __init__(self, publisher: Publisher, outbox: Outbox) -> None:
        self._publisher = publisher
        self._outbox = outbox
        self._sending: set[asyncio.Task[None]] = set()

    @property
    def keeps_up(self) -> bool:
        """Whether rows committed now are published from here, not by the relay."""
        return self._publisher.is_up and self._publisher.in_flight < _MAX_IN_FLIGHT

    async def send(self, rows: Sequence[OutboxRow]) -> None:
        """Publish, and return once the broker has answered for all. Never raises."""
        if rows:
            await asyncio.gather(*map(self._send, rows))

    def send_soon(self, rows: Sequence[OutboxRow]) -> None:
        """Publish in the background."""
        for row in rows:
            self._track(asyncio.create_task(self._send(row), name="publish committed"))

    async def idle(self) -> None:
        """Return once all that was begun here is published and marked."""
        while self._sending:
            await asyncio.wait(self._sending)
        await self._outbox.settled()

    async def _send(self, row: OutboxRow) -> None:
        if not self._publisher.is_up:
            return
        try:
            await self._publisher.publish(row.letter)
        except BrokerRefused:
            return  # counted. The relay tries it with the others of its route
        except Unavailable as error:
            _log.warning(
                "a message is left to the relay",
                org=row.org,
                routing_key=row.letter.routing_key,
                code=error.code,
                reason=error.reason,
            )
            return
        # Not awaited: it is published, and the mark only saves doing so a second time.
        self._outbox.mark(row.id)

    def _track(self, task: asyncio.Task[None]) -> None:
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)
