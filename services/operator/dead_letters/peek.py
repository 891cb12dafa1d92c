"""A look into a dead-letter queue: nothing there is overlooked, and what stays keeps its order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue
from aio_pika.exceptions import AMQPError, ChannelNotFoundEntity

from shared.errors import Unavailable

_MOST: Final = 65_535  # as much as basic.qos can name: its prefetch-count is a short
_PATIENCE_S: Final = 10.0


async def look_through(
    channel: AbstractChannel, name: str, limit: int
) -> AsyncGenerator[AbstractIncomingMessage]:
    """The messages of a quorum queue, the oldest first. None when there is no such queue.

    `channel` is for this look alone. Closed right after it, the queue is as it was, without what
    was acknowledged. Ends after those that were ready at its beginning, at most `limit` (and
    65,536): what is given up again meanwhile is not seen twice. The broker sends without waiting
    for who reads, so that all of them may be in memory at once.

    How it is done follows from rabbit_quorum_queue.erl and rabbit_fifo.erl, of 3.10 as of 4.x. A
    passive declare says 0 when the queue's leader does not answer within 250 ms, whereas basic.get
    is answered by the queue itself, with how many are left. And a closing channel puts back each
    consumer's messages in order, but consumer after consumer in the order of their keys, and each
    basic.get is a consumer of its own. So the first message comes by basic.get, all others to one
    consumer, and the first is put back before the rest.

    Raises:
        Unavailable: the broker does not answer, or somebody else took what was ready.
    """
    queue = await channel.get_queue(name, ensure=False)
    first = await _first(queue)
    if first is None:
        return
    rest = _Rest(queue)
    try:
        yield first
        left = min(limit - 1, first.message_count or 0, _MOST)
        async for message in rest.messages(channel, left):
            yield message
    finally:
        if not (first.processed or channel.is_closed):
            await rest.stop()
            await first.reject(requeue=True)


async def _first(queue: AbstractQueue) -> AbstractIncomingMessage | None:
    try:
        return await queue.get(no_ack=False, fail=False, timeout=_PATIENCE_S)
    except ChannelNotFoundEntity:
        return None
    except (AMQPError, OSError, TimeoutError) as error:
        raise _silence() from error


class _Rest:
    """All but the first, held by one consumer."""

    def __init__(self, queue: AbstractQueue) -> None:
        self._queue = queue
        self._arrived: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        self._consumer: str | None = None

    async def messages(
        self, channel: AbstractChannel, number: int
    ) -> AsyncGenerator[AbstractIncomingMessage]:
        if number < 1:
            return  # a prefetch of 0 would mean all there are
        try:
            await channel.set_qos(prefetch_count=number)
            self._consumer = await self._queue.consume(self._arrived.put, timeout=_PATIENCE_S)
        except (AMQPError, OSError, TimeoutError) as error:
            raise _silence() from error
        for _ in range(number):
            yield await self._next()

    async def _next(self) -> AbstractIncomingMessage:
        try:
            return await asyncio.wait_for(self._arrived.get(), _PATIENCE_S)
        except TimeoutError as error:
            raise _silence() from error

    async def stop(self) -> None:
        """Take no more: what is put back would come here again, behind all others."""
        if self._consumer is not None:
            await self._queue.cancel(self._consumer)


def _silence() -> Unavailable:
    return Unavailable(
        "RabbitMQ does not hand out the dead letters that it has: is it busy,"
        " or is somebody else looking at them? Ask again",
        code="broker_unavailable",
    )
