"""Acknowledges what is settled on one channel, many at a time where their order allows."""

from __future__ import annotations

import asyncio

from aiormq.channel import Channel

from shared.messaging.broker.frames import FrameWriter, ack_frame


class AckBatcher:
    """Acks of what was settled in the same turn of the event loop go out together.

    A single ack covers all up to it, when every delivery before is settled as well. Deliveries
    that are let go of are never settled here: they stay the broker's, and hold that back.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._writer = FrameWriter(channel)
        self._lowest = 1  # of the delivery tags not settled; the broker counts from 1
        self._settled: set[int] = set()
        self._fresh: list[int] = []

    def ack(self, delivery_tag: int) -> None:
        """Acknowledge soon. On a lost channel nothing happens: the delivery comes again."""
        if not self._fresh:
            asyncio.get_running_loop().call_soon(self._write)
        self._fresh.append(delivery_tag)

    async def flush(self) -> None:
        """Return once all acks are handed to the connection."""
        if self._fresh:
            self._write()
        await self._writer.flush()

    def _write(self) -> None:
        if not self._fresh or self._channel.is_closed:
            return
        self._settled.update(self._fresh)
        while self._lowest in self._settled:
            self._settled.discard(self._lowest)
            self._lowest += 1
        number = self._channel.number
        covered = [tag for tag in self._fresh if tag < self._lowest]
        if covered:
            # The broker knows only tags that are not acknowledged yet, hence not `lowest - 1`.
            self._writer.write(ack_frame(number, max(covered), multiple=True))
        for tag in self._fresh:
            if tag > self._lowest:
                self._writer.write(ack_frame(number, tag, multiple=False))
        self._fresh.clear()
