"""A connection to the broker that comes back by itself."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import cycle
from typing import Final, cast

import aio_pika
import aiormq
import aiormq.abc
import aiormq.exceptions
import structlog
from aio_pika.abc import AbstractConnection
from aiormq.channel import Channel
from pydantic import SecretStr
from yarl import URL

from shared.background import Background, is_cancelled, wait_for
from shared.errors import CannotStart
from shared.exponential_backoff import jittered_s
from shared.messaging.broker import frame_reading, lenient_decoding
from shared.messaging.broker.topology import WORKING_CHANNELS
from shared.server_urls import amqp_urls

_log = structlog.get_logger(__name__)

BROKER_ERRORS: Final = (aiormq.exceptions.AMQPError, OSError, TimeoutError, RuntimeError)
"""What a call to a broker that went away may raise. (aiormq: RuntimeError on a closed channel.)"""

# The broker ends a connection after two heartbeats without an answer: a frozen intake is taken over
# by a standby within 30 s.
_HEARTBEAT_S: Final = 8
_CONNECT_TIMEOUT_S: Final = 10.0
_PAUSES_S: Final = (0.2, 0.5, 1.0, 2.0, 4.0)


def _is_not_said_here(record: logging.LogRecord) -> bool:
    """The library writes a line for each attempt at a broker that is away. We write one for all."""
    return not str(record.msg).startswith("error when creating transport")


Prepare = Callable[[AbstractConnection], Awaitable[None]]


class ReconnectingConnection(Background):
    """One connection, opened in the background and opened again whenever it is lost.

    A `url` that names several hosts is tried host by host.

    `prepare` runs on each new connection before anybody gets it: here the topology is declared, so
    that a broker that lost it gets it back.
    """

    def __init__(self, url: SecretStr, name: str, prepare: Prepare | None = None) -> None:
        lenient_decoding.install()
        frame_reading.install()
        logging.getLogger("aiormq.connection").addFilter(_is_not_said_here)
        # Tried in turn, beginning with the one that answered last.
        self._urls = deque(amqp_urls(url.get_secret_value()))
        super().__init__(name)
        self._prepare = prepare
        self._numbers = cycle(WORKING_CHANNELS)
        self._up = asyncio.Event()
        self._tried = asyncio.Event()
        self._connection: AbstractConnection | None = None

    @property
    def is_up(self) -> bool:
        return self._up.is_set()

    async def wait_up(self) -> None:
        await self._up.wait()

    async def tried(self, within_s: float) -> None:
        """Return once a first attempt to connect was made, successful or not, or after `within_s`.

        Raises:
            CannotStart: of `prepare`. No further attempt is made.
        """
        await wait_for(self._tried, within_s)
        if self._task is not None and self._task.done():
            self._task.result()

    async def prepare_again(self) -> None:
        """Declare the topology once more: something of it is gone. Raises as `channel`."""
        if self._prepare is not None and self._connection is not None:
            await self._prepare(self._connection)

    async def channel(self, *, confirms: bool) -> Channel:
        """A new channel, once the connection is up.

        Raises one of BROKER_ERRORS when the connection was lost meanwhile.
        """
        await self._up.wait()
        if self._connection is None or self._connection.transport is None:
            raise ConnectionError("the connection was closed")
        # An unbounded buffer: prefetch bounds what is delivered, and a bounded one would make
        # confirms of one channel wait for the deliveries of another.
        connection = self._connection.transport.connection
        opened = connection.channel(
            channel_number=self._free_number(connection),
            publisher_confirms=confirms,
            frame_buffer_size=0,
        )
        try:
            return cast("Channel", await asyncio.wait_for(opened, _CONNECT_TIMEOUT_S))
        except BROKER_ERRORS:
            raise
        except (Exception, asyncio.CancelledError) as error:  # of a connection that just ended
            if is_cancelled():
                raise
            raise ConnectionError("the connection was lost meanwhile") from error

    def _free_number(self, connection: aiormq.abc.AbstractConnection) -> int:
        """A number that was not in use for long: see `Topology`."""
        return next(number for number in self._numbers if number not in connection.channels)

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                await self._connect_once()
                failures = 0
                continue
            except CannotStart as error:
                # Nothing that passes. Who enters this connection ends by it, at the latest when it
                # stops.
                _log.critical("the broker is refused", code=error.code, reason=error.reason)
                raise
            except (Exception, asyncio.CancelledError) as error:
                if is_cancelled():
                    raise
                if failures == 0:
                    _log.warning(
                        "the broker is not reachable, trying again",
                        connection=self._name,
                        error=type(error).__name__,
                        reason=str(error) if isinstance(error, BROKER_ERRORS) else "",
                    )
            finally:
                self._tried.set()
            self._urls.rotate(-1)
            failures += 1
            rounds, hosts_left = divmod(failures, len(self._urls))
            if hosts_left:
                continue
            pause_s = _PAUSES_S[min(rounds, len(_PAUSES_S)) - 1]
            await asyncio.sleep(jittered_s(pause_s))

    async def _connect_once(self) -> None:
        """Connect, and return once the connection is lost."""
        url = URL(self._urls[0])
        connection = await aio_pika.connect(
            url.update_query(heartbeat=url.query.get("heartbeat", str(_HEARTBEAT_S))),
            timeout=_CONNECT_TIMEOUT_S,
            client_properties={"connection_name": self._name},
        )
        try:
            if self._prepare is not None:
                await self._prepare(connection)
            if is_cancelled():  # swallowed on the way here. Nothing below would end by itself
                raise asyncio.CancelledError
            if connection.transport is None:
                return
            self._connection = connection
            self._up.set()
            self._tried.set()
            _log.info("connected to the broker", connection=self._name)
            with suppress(Exception):
                await connection.transport.connection.closing
            _log.warning("the connection to the broker was lost", connection=self._name)
        finally:
            self._up.clear()
            self._connection = None
            with suppress(*BROKER_ERRORS):
                await asyncio.wait_for(connection.close(), _CONNECT_TIMEOUT_S)
