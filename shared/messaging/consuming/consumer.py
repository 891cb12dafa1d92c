"""Takes one queue's messages from the broker, and acknowledges what is settled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final

import structlog
from aiormq.abc import DeliveredMessage
from aiormq.channel import Channel

from shared.background import Background, is_cancelled
from shared.messaging.broker.acks import AckBatcher
from shared.messaging.broker.connection import BROKER_ERRORS, ReconnectingConnection
from shared.messaging.consuming.attempt import Abandoned, Attempt
from shared.messaging.consuming.delayed_retry import DelayedRetry
from shared.messaging.consuming.queue_uptime import QueueUptime
from shared.messaging.consuming.settle import Settle
from shared.messaging.handling.routes import QueueConfig
from shared.messaging.messages.decode import decode_delivery

_log = structlog.get_logger(__name__)

_REOPEN_S: Final = 1.0
_CLOSE_S: Final = 5.0
_BROKEN_S: Final = 60.0


class Consumer(Background):
    """Consumes one lane on a channel of its own, for as long as its context is entered.

    It stops taking while the lane's gate is closed or too many bytes are in flight, and starts
    again by itself after anything the broker does: a lost connection, a closed channel, a cancelled
    consumer. A delivery is acknowledged on the channel that brought it, or not at all.
    """

    def __init__(
        self,
        lane: QueueConfig,
        service: str,
        link: ReconnectingConnection,
        settle: Settle,
        retries: DelayedRetry,
        reading: QueueUptime,
        *,
        known_orgs: frozenset[str],
        on_pause: Callable[[str, bool], None] = lambda _queue, _paused: None,
    ) -> None:
        self._lane = lane
        self._queue = lane.queue(service)
        super().__init__(f"consume {self._queue}")
        self._link = link
        self._settle = settle
        self._retries = retries
        self._reading = reading
        self._known_orgs = known_orgs
        self._on_pause = on_pause
        self._stopping = asyncio.Event()
        self._in_flight: set[asyncio.Task[None]] = set()
        self._is_consuming = False
        self._bytes = 0
        self._too_much = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._send_back = asyncio.Event()

    async def drain(self, timeout_s: float) -> None:
        """Take nothing more; finish what is in flight within `timeout_s`, then let go of it."""
        self._stopping.set()
        self._send_back.set()
        ending: set[asyncio.Task[None]] = set(self._in_flight)
        if self._task is not None and self._is_consuming:
            ending.add(self._task)
        if ending:
            await asyncio.wait(ending, timeout=timeout_s)
        if self._in_flight:
            _log.warning("let go of unfinished messages", queue=self._queue)
            for task in self._in_flight:
                task.cancel()
            await asyncio.wait(self._in_flight)

    async def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._wait_until_wanted()
                await self._consume()
            except BROKER_ERRORS as error:
                _log.warning("consuming broke off", queue=self._queue, error=type(error).__name__)
            except asyncio.CancelledError:
                if is_cancelled():
                    raise
                _log.warning("consuming broke off", queue=self._queue, error="CancelledError")
            except Exception:
                # A queue that nobody consumes any more is the worst that can happen here.
                _log.exception("consuming failed", queue=self._queue)
            else:
                continue
            await asyncio.sleep(_REOPEN_S)
            with suppress(Exception):  # in case it is the queue that is gone
                await self._link.prepare_again()

    async def _wait_until_wanted(self) -> None:
        await self._room.wait()
        gate = self._lane.gate
        if gate is not None and not gate.is_open():
            self._on_pause(self._queue, True)
            _log.warning("queue paused", queue=self._queue)
            await gate.opened()
            _log.info("queue goes on", queue=self._queue)
        self._on_pause(self._queue, False)

    async def _consume(self) -> None:
        """Consume until the channel is lost, the queue pauses, or the service stops."""
        channel = await self._link.channel(confirms=False)
        gone, self._send_back = asyncio.Event(), asyncio.Event()
        cancelled = asyncio.Event()
        channel.on_consumer_cancel_callbacks.add(lambda _frame: cancelled.set())
        acks = AckBatcher(channel)
        take = partial(self._take, acks, gone, self._send_back)
        self._is_consuming = True
        self._reading.begins(self._queue)
        try:
            await channel.basic_qos(prefetch_count=self._lane.prefetch)
            while self._is_wanted() and not channel.is_closed:
                consuming = await channel.basic_consume(self._queue, take)
                await self._first_of(channel, cancelled, self._stopping, self._too_much)
                if cancelled.is_set():
                    # The queue is gone, or moves; what we have of it may still be settled.
                    _log.warning("the broker cancelled a consumer", queue=self._queue)
                    await asyncio.sleep(_REOPEN_S)
                    break
                if not channel.is_closed and consuming.consumer_tag:
                    await channel.basic_cancel(consuming.consumer_tag)
                if self._too_much.is_set():
                    await self._first_of(channel, self._stopping, self._room)
            await self._finish(channel)
        finally:
            self._reading.ends(self._queue)
            gone.set()
            with suppress(*BROKER_ERRORS):
                async with asyncio.timeout(_CLOSE_S):
                    await acks.flush()
                    await channel.close()
            self._is_consuming = False

    def _is_wanted(self) -> bool:
        gate = self._lane.gate
        return not self._stopping.is_set() and (gate is None or gate.is_open())

    async def _first_of(self, channel: Channel, *events: asyncio.Event) -> None:
        """Return when one of the events is set, the channel is lost or the gate is closed."""
        waits: list[Awaitable[object]] = [event.wait() for event in events]
        if self._lane.gate is not None:
            waits.append(self._lane.gate.closed())
        tasks = [asyncio.ensure_future(wait) for wait in (*waits, channel.closing)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _finish(self, channel: Channel) -> None:
        """Let what was taken be settled before the channel that must acknowledge it is closed."""
        if not self._is_wanted():
            self._send_back.set()
        closing = asyncio.ensure_future(channel.closing)
        while self._in_flight and not closing.done():
            await asyncio.wait([*self._in_flight, closing], return_when=asyncio.FIRST_COMPLETED)
        closing.cancel()

    async def _take(
        self,
        acks: AckBatcher,
        gone: asyncio.Event,
        send_back: asyncio.Event,
        message: DeliveredMessage,
    ) -> None:
        delivery = decode_delivery(message, self._queue, self._lane.name, self._known_orgs)
        attempt = Attempt(delivery, self._lane, send_back, gone)
        self._count(len(message.body))
        # A task of our own: those of the channel die with it, and a call to Zoho must not.
        task = asyncio.create_task(self._handle(acks, message, attempt))
        self._in_flight.add(task)
        task.add_done_callback(self._in_flight.discard)

    def _count(self, size: int) -> None:
        self._bytes += size
        if self._bytes > self._lane.max_bytes:
            self._too_much.set()
            self._room.clear()
        elif self._bytes <= self._lane.max_bytes // 2 and self._too_much.is_set():
            self._too_much.clear()
            self._room.set()

    async def _handle(self, acks: AckBatcher, message: DeliveredMessage, attempt: Attempt) -> None:
        try:
            await self._settle(attempt)
        except Abandoned:
            return
        except Exception:
            # Ours: settling itself failed. The message must neither be lost nor spin.
            _log.exception("settling failed", queue=self._queue)
            try:
                await self._retries.send_back(attempt, _BROKEN_S)
            except Abandoned:
                return
        finally:
            self._count(-len(message.body))
        if message.delivery_tag is not None:
            acks.ack(message.delivery_tag)
