"""Publishes with confirms: as many in flight together as there are callers."""

from __future__ import annotations

import asyncio

import structlog
from aiormq.channel import Channel
from aiormq.exceptions import DeliveryError

from shared.errors import Unavailable
from shared.messaging.connection import BROKER_ERRORS, Link
from shared.messaging.letter import Letter

_log = structlog.get_logger(__name__)


class Unroutable(Unavailable):
    """A mandatory message that no queue takes: the topology is not there (yet)."""

    code = "unroutable"


class Publisher:
    """One channel with confirms on its own connection: a blocked publisher must not stop acks."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._opening = asyncio.Lock()
        self._channel: Channel | None = None
        self._in_flight: dict[str, asyncio.Event] = {}

    @property
    def is_up(self) -> bool:
        return self._link.is_up

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    async def wait_up(self) -> None:
        await self._link.wait_up()

    async def publish(self, letter: Letter) -> None:
        """Return once the broker has it safely.

        Raises:
            Unroutable: it is mandatory and no queue takes it.
            Unavailable: not confirmed; it may have been published all the same.
        """
        # The client tells returned messages apart by message id: two with the same one must not
        # be in flight together, or one could pass for the other.
        while (other := self._in_flight.get(letter.message_id)) is not None:
            await other.wait()
        done = self._in_flight[letter.message_id] = asyncio.Event()
        try:
            await self._publish(letter)
        finally:
            del self._in_flight[letter.message_id]
            done.set()

    async def _publish(self, letter: Letter) -> None:
        if not self._link.is_up:
            raise Unavailable("the broker is not connected", code="broker_unavailable")
        try:
            channel = await self._open()
            await channel.basic_publish(
                letter.body,
                exchange=letter.exchange,
                routing_key=letter.routing_key,
                properties=letter.properties(),
                mandatory=letter.mandatory,
                wait=False,
            )
        except DeliveryError as error:  # returned (PublishError), or refused by the queue
            if error.message is not None:
                raise Unroutable("no queue takes it") from error
            raise Unavailable("the broker refused it", code="broker_refused") from error
        except BROKER_ERRORS as error:
            raise Unavailable("not confirmed", code="broker_unavailable") from error
        except asyncio.CancelledError as error:
            # A channel that closes cancels the calls on it, not only their tasks.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise Unavailable("not confirmed", code="broker_unavailable") from error

    async def _open(self) -> Channel:
        if self._channel is None or self._channel.is_closed:
            async with self._opening:
                if self._channel is None or self._channel.is_closed:
                    self._channel = await self._link.channel(confirms=True)
        return self._channel
