"""Take one queue's messages from the broker, in its order, and acknowledge what is stored."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from math import inf
from typing import Any, Final, Protocol

import structlog
from aiormq.abc import DeliveredMessage
from aiormq.channel import Channel
from aiormq.exceptions import ChannelAccessRefused, ChannelClosed

from shared.background import Background, is_cancelled, wait_for
from shared.messaging.broker.connection import BROKER_ERRORS, ReconnectingConnection
from shared.messaging.broker.deliveries import Deliveries
from shared.messaging.broker.frames import FrameWriter, ack_frame
from shared.messaging.broker.topology import (
    POISON,
    PREFETCH,
    UNROUTED_POISON,
    UNROUTED_QUEUE,
    refusal,
)
from shared.messaging.intake.handover import ALONE_FROM_DELIVERY, Handover, Unanswered
from shared.messaging.messages.decode import Arrival, decode

_log = structlog.get_logger(__name__)

_REOPEN_S: Final = 1.0
_CLOSE_S: Final = 5.0
_IDLE_S: Final = 10.0  # what a channel is given back, its next consumer has long before
_GROUP_BYTES: Final = 2 * 1024 * 1024

LINGER_S: Final = 0.025
"""How long after its arrival what may linger waits for others to be stored with."""

LINGER_COUNT: Final = 16
"""So many do not wait for more."""

HELD_AT_MOST_S: Final = 1_200.0
"""The broker closes a channel that leaves a message unacknowledged for 30 minutes by default."""


class Capacity(Protocol):
    """Says whether the inbox has room for more."""

    async def available(self) -> None:
        """Return once more may be taken."""


class _NotTakenError(Exception):
    """What was delivered could not be taken. Its cause says why."""


class QueueConsumer(Background):
    """Consumes one queue on a channel of its own, for as long as its context is entered.

    The queue has one active consumer among all replicas, so what one statement stores is in the
    queue's order. It never sends `basic.cancel`, which would let the next consumer begin behind
    what this one still holds: to stop, it finishes its INSERT, writes its acks and closes the
    channel. It starts again by itself after anything the broker does.
    """

    def __init__(
        self,
        queue: str,
        link: ReconnectingConnection,
        handover: Handover,
        capacity: Capacity,
        *,
        known_orgs: frozenset[str],
        lingers: Callable[[str, str], bool] = lambda _exchange, _routing_key: False,
        refused: Callable[[str], str | None] = lambda _queue: None,
        dropped: Callable[[int], None] = lambda _headers: None,
    ) -> None:
        super().__init__(f"intake {queue}")
        self._queue = queue
        self._is_unrouted = queue in (UNROUTED_QUEUE, UNROUTED_POISON)
        self._link = link
        self._handover = handover
        self._capacity = capacity
        self._decode = partial(decode, known_orgs=known_orgs, dead_lettered=queue.endswith(POISON))
        self._lingers = lingers
        self._refused = refused
        self._dropped = dropped
        self._stopping = asyncio.Event()
        self._failing_since: float | None = None
        self._storing_since: float | None = None

    @property
    def queue(self) -> str:
        return self._queue

    @property
    def stands_for_s(self) -> float:
        """Seconds for which it has failed again and again, or waited for one group to be stored.

        0 when it stores what comes, when nothing comes, and while the inbox is full.
        """
        if self._task is not None and self._task.done() and not self._stopping.is_set():
            return inf
        began = [at for at in (self._failing_since, self._storing_since) if at is not None]
        return time.monotonic() - min(began) if began else 0.0

    async def drain(self, timeout_s: float) -> None:
        """Take nothing more, finish the INSERT under way, acknowledge, and close the channel."""
        self._stopping.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=timeout_s)

    async def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if self._refused(self._queue) is None:
                    await self._consume()
            except ChannelClosed as error:
                reason = f"{refusal(error)}{_permission(error)}"
                _log.warning("intake broke off", queue=self._queue, reason=reason)
            except BROKER_ERRORS as error:
                _log.warning("intake broke off", queue=self._queue, error=type(error).__name__)
            except Unanswered:
                _log.error("an INSERT got no answer: the queue is handed over", queue=self._queue)
            except asyncio.CancelledError:
                if is_cancelled():
                    raise
                _log.warning("intake broke off", queue=self._queue, error="CancelledError")
            except Exception:
                # A queue that nobody takes from any more is the worst that can happen here.
                _log.exception("intake failed", queue=self._queue)
            else:
                if self._refused(self._queue) is None:
                    continue
            if self._failing_since is None:
                self._failing_since = time.monotonic()
            with suppress(TimeoutError):
                async with asyncio.timeout(_REOPEN_S):
                    await self._stopping.wait()
            if not self._stopping.is_set():
                with suppress(Exception):  # in case it is the queue that is gone
                    await self._link.prepare_again()

    async def _consume(self) -> None:
        """Consume until the channel is lost, the broker ends it, or the service stops."""
        channel = await self._link.channel(confirms=False)
        taking = _Taking(channel, self._decode, self._lingers, self._dropped)
        Deliveries(channel, taking.take, taking.failed)
        storing: asyncio.Task[None] | None = None
        try:
            await channel.basic_qos(prefetch_count=PREFETCH)
            await channel.basic_consume(self._queue, taking.taken_already)
            storing = asyncio.create_task(self._store_all(taking), name=f"store {self._queue}")
            await self._until_ended(taking, storing)
            if taking.failure is None and taking.ended.is_set():
                _log.warning("the broker ended a consumer", queue=self._queue)
                await asyncio.sleep(_REOPEN_S)
        finally:
            if storing is not None:
                await _finish(storing, taking)
            with suppress(*BROKER_ERRORS, asyncio.CancelledError):
                async with asyncio.timeout(_CLOSE_S):
                    await taking.acks.flush()
                    await channel.close()
        if storing.done() and not storing.cancelled():
            storing.result()
        if taking.failure is not None:
            raise _NotTakenError from taking.failure

    async def _until_ended(self, taking: _Taking, storing: asyncio.Task[None]) -> None:
        waits = [asyncio.ensure_future(event.wait()) for event in (self._stopping, taking.ended)]
        ends: list[asyncio.Future[Any]] = [*waits, storing, taking.channel.closing]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _store_all(self, taking: _Taking) -> None:
        """Store what has arrived, group by group, until it has to stop or is held for too long."""
        while not self._stopping.is_set() and not taking.channel.is_closed:
            if not await wait_for(taking.arrived, _IDLE_S):
                self._failing_since = None  # it stands by, or nothing is sent
                await taking.arrived.wait()
            await taking.lingered()
            if not await self._within_bounds(taking, self._capacity.available()):
                return
            group = taking.next_group()
            if group:
                taking.is_storing = True
                self._storing_since = time.monotonic()
                try:
                    async with asyncio.timeout(HELD_AT_MOST_S):
                        await self._store(group, taking)
                finally:
                    taking.is_storing = False
                    self._storing_since = None
                self._failing_since = None
                taking.acknowledge(group)

    async def _store(self, group: list[Arrival], taking: _Taking) -> None:
        first = group[0]
        if first.deliveries >= ALONE_FROM_DELIVERY:
            await self._handover.store_suspect(
                first,
                unrouted=self._is_unrouted,
                # Not held any more: the connection was lost, as when the process hangs.
                is_held=lambda: self._stopping.is_set() or not taking.channel.is_closed,
            )
        else:
            await self._handover.store(group, unrouted=self._is_unrouted)

    async def _within_bounds(self, taking: _Taking, wait: Awaitable[object]) -> bool:
        """Wait for it. False: what has arrived was held for so long that the broker would act."""
        task = asyncio.ensure_future(wait)
        try:
            while not task.done():
                await asyncio.wait([task], timeout=max(0.0, min(60.0, taking.may_hold_s())))
                if taking.may_hold_s() <= 0:
                    return False
        finally:
            task.cancel()
        return True


class _Taking:
    """What arrived by one channel and is not acknowledged yet."""

    def __init__(
        self,
        channel: Channel,
        decode: Callable[[DeliveredMessage], Arrival],
        lingers: Callable[[str, str], bool],
        dropped: Callable[[int], None],
    ) -> None:
        self.channel = channel
        self.acks = FrameWriter(channel)
        self.arrived = asyncio.Event()
        self.ended = asyncio.Event()
        self.failure: Exception | None = None
        self._last_tag = 0
        self.is_storing = False
        self._decode = decode
        self._lingers = lingers
        self._dropped = dropped
        self._hurried = asyncio.Event()
        self._pending: deque[tuple[float, Arrival]] = deque()
        channel.on_consumer_cancel_callbacks.add(lambda _frame: self.ended.set())

    async def taken_already(self, delivered: DeliveredMessage) -> None:
        """What the library calls with what it reads itself. `Deliveries` leaves it nothing."""
        self.take(delivered)

    def failed(self, error: Exception) -> None:
        self.failure = error
        self.ended.set()

    def take(self, delivered: DeliveredMessage) -> None:
        tag = delivered.delivery_tag
        self._last_tag += 1
        if tag != self._last_tag:  # an ack of it would be one of what is missing too
            raise ConnectionError(f"delivery {tag} came in place of {self._last_tag}")
        arrival = self._decode(delivered)
        if arrival.dropped:
            self._dropped(arrival.dropped)
        self._pending.append((time.monotonic(), arrival))
        self.arrived.set()
        message = arrival.message
        lingers = arrival.deliveries == 1 and self._lingers(message.exchange, message.routing_key)
        if not lingers or len(self._pending) >= LINGER_COUNT:
            self._hurried.set()

    async def lingered(self) -> None:
        """Return once something has arrived that does not linger, or has lingered long enough."""
        if not self._hurried.is_set() and self._pending:
            left_s = self._pending[0][0] + LINGER_S - time.monotonic()
            if left_s > 0:
                await wait_for(self._hurried, left_s)

    def may_hold_s(self) -> float:
        """How long the oldest may go on unacknowledged."""
        if not self._pending:
            return HELD_AT_MOST_S
        return HELD_AT_MOST_S - (time.monotonic() - self._pending[0][0])

    def next_group(self) -> list[Arrival]:
        """All that has arrived, or the first alone when it may be what kills processes.

        What is large is stored in several groups: a statement takes several times their size.
        """
        group: list[Arrival] = []
        size = 0
        while self._pending and size < _GROUP_BYTES:
            _, arrival = self._pending[0]
            is_suspect = arrival.deliveries >= ALONE_FROM_DELIVERY
            if is_suspect and group:
                break
            group.append(self._pending.popleft()[1])
            size += len(arrival.message.body)
            if is_suspect:
                break
        if not self._pending:
            self.arrived.clear()
            self._hurried.clear()
        return group

    def acknowledge(self, group: list[Arrival]) -> None:
        """One ack for all of it: everything before was acknowledged already."""
        if not self.channel.is_closed:
            self.acks.write(ack_frame(self.channel.number, group[-1].delivery_tag, multiple=True))


def _permission(error: ChannelClosed) -> str:
    return " (permission: read)" if isinstance(error, ChannelAccessRefused) else ""


async def _finish(storing: asyncio.Task[None], taking: _Taking) -> None:
    """Let the INSERT under way be finished. A wait for more ends at once."""
    if taking.is_storing and not taking.channel.is_closed:
        await asyncio.wait([storing], timeout=_CLOSE_S)
    storing.cancel()
    await asyncio.wait([storing])
