"""Publishes with confirms: as many in flight together as there are callers."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

from aiormq.channel import Channel
from aiormq.exceptions import (
    ChannelAccessRefused,
    ChannelClosed,
    ChannelNotFoundEntity,
    DeliveryError,
    PublishError,
)

from shared.background import is_cancelled
from shared.errors import Unavailable
from shared.messaging.broker.connection import BROKER_ERRORS, ReconnectingConnection
from shared.messaging.broker.frames import FrameWriter, publish_frames
from shared.messaging.broker.refused_routes import RefusedRoutes
from shared.messaging.broker.topology import refusal
from shared.messaging.messages.outgoing_message import OutgoingMessage


class Unroutable(Unavailable):
    """A mandatory message that no queue takes: the topology is not there (yet)."""

    code = "unroutable"


class BrokerRefused(Unavailable):
    """The broker took it and did not confirm it. What happens to its route is counted."""

    code = "broker_refused"


class ExchangeMissing(Unavailable):
    """The exchange is not there. It was declared anew, with the bindings of all services."""

    code = "exchange_missing"


class Publisher:
    """One channel with confirms on its own connection: a blocked publisher must not stop acks."""

    def __init__(self, link: ReconnectingConnection, refused: RefusedRoutes | None = None) -> None:
        self._link = link
        self.refused = refused or RefusedRoutes(lambda _route: None)
        self._opening = asyncio.Lock()
        self._outlet: _Outlet | None = None
        self._in_flight: dict[str, asyncio.Event] = {}
        self._declaring: asyncio.Future[None] | None = None

    @property
    def is_up(self) -> bool:
        return self._link.is_up

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    async def wait_up(self) -> None:
        await self._link.wait_up()

    async def publish(self, letter: OutgoingMessage) -> None:
        """Return once the broker has it safely.

        Raises:
            Unroutable: it is mandatory and no queue takes it.
            BrokerRefused: some queue refused it, or others of its exchange and routing key a moment
                ago. In the latter case it was not published.
            Unavailable: not confirmed. It may have been published all the same.
        """
        # The client matches returned messages by message id: two with the same one must not
        # be in flight together, or one could pass for the other.
        while (other := self._in_flight.get(letter.message_id)) is not None:
            await other.wait()
        done = self._in_flight[letter.message_id] = asyncio.Event()
        try:
            await self._publish(letter)
        finally:
            del self._in_flight[letter.message_id]
            done.set()

    async def _publish(self, letter: OutgoingMessage) -> None:
        if not self._link.is_up:
            raise Unavailable("the broker is not connected", code="broker_unavailable")
        route = (letter.exchange, letter.routing_key)
        if not self.refused.may_go(route):
            raise BrokerRefused("the broker refused others of its kind a moment ago")
        if self._declaring is not None:  # an exchange whose bindings are not back yet
            await asyncio.wait([self._declaring])
        try:
            outlet = self._outlet
            if outlet is None or outlet.is_closed:
                outlet = await self._open()
            await outlet.publish(letter)
            self.refused.taken(route)
        except PublishError as error:
            raise Unroutable("no queue takes it") from error
        except DeliveryError as error:
            self.refused.refused(route)
            raise BrokerRefused("a queue that it goes to takes no more") from error
        except ChannelNotFoundEntity as error:
            await self._declare_again()
            raise ExchangeMissing(f"there was no exchange {letter.exchange!r}") from error
        except ChannelAccessRefused as error:
            reason = f"{refusal(error)} (permission: write)"
            raise Unavailable(reason, code=BrokerRefused.code) from error
        except BROKER_ERRORS as error:
            raise Unavailable("not confirmed", code="broker_unavailable") from error
        except (ValueError, TypeError, struct.error) as error:
            raise Unavailable("it cannot be written as frames", code="not_encodable") from error
        except asyncio.CancelledError as error:
            if is_cancelled():
                raise
            raise Unavailable("not confirmed", code="broker_unavailable") from error

    async def _declare_again(self) -> None:
        """Once for all that were refused together."""
        if self._declaring is None:
            self._declaring = asyncio.ensure_future(self._link.prepare_again())
            self._declaring.add_done_callback(self._declared)
        try:
            await asyncio.shield(self._declaring)
        except BROKER_ERRORS:
            pass  # whoever is refused next declares once more
        except asyncio.CancelledError:  # aiormq cancels what waits for a connection that is lost
            if is_cancelled():
                raise

    def _declared(self, _: asyncio.Future[None]) -> None:
        self._declaring = None

    async def _open(self) -> _Outlet:
        async with self._opening:
            if self._outlet is None or self._outlet.is_closed:
                self._outlet = _Outlet(await self._link.channel(confirms=True))
        return self._outlet


class _Outlet:
    """A channel with confirms. All its publishes go through here, so that tags are counted once."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._writer = FrameWriter(channel)
        self._unconfirmed: set[asyncio.Future[Any]] = set()
        channel.closing.add_done_callback(self._closed)

    @property
    def is_closed(self) -> bool:
        return self._channel.is_closed

    async def publish(self, letter: OutgoingMessage) -> None:
        channel = self._channel
        if channel.is_closed:
            raise ConnectionError("the channel was closed")
        # First, because it may refuse the letter: a tag is taken only by what is written.
        frames = publish_frames(channel.number, letter, channel.max_content_size)
        channel.delivery_tag += 1
        confirmed = channel.confirmations[channel.delivery_tag] = channel.loop.create_future()
        self._unconfirmed.add(confirmed)
        if letter.mandatory:
            channel.message_id_delivery_tag[letter.message_id] = channel.delivery_tag
        self._writer.write(frames)
        try:
            await confirmed
        finally:
            self._unconfirmed.discard(confirmed)
            if letter.mandatory:
                channel.message_id_delivery_tag.pop(letter.message_id, None)

    def _closed(self, closing: asyncio.Future[Any]) -> None:
        why = None if closing.cancelled() else closing.exception()
        if not isinstance(why, ChannelClosed):
            why = ConnectionError("the channel was closed")
        for confirmed in self._unconfirmed:
            if not confirmed.done():
                confirmed.set_exception(why)
