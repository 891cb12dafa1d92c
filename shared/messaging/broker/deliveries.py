"""Put deliveries together as their frames arrive, and pass each on at once.

The client library passes each of a message's three frames to a task of the channel, which starts
one more for the message: a twentieth of what a message costs in our process. All other frames are
passed on to it: see docs/decisions/0011-frames-of-the-hot-path.md.
Source: AMQP 0-9-1 specification, §4.2.6 content framing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiormq.abc import DeliveredMessage
from aiormq.channel import Channel
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

Take = Callable[[DeliveredMessage], None]
Failed = Callable[[Exception], None]


class Deliveries:
    """The deliveries of one channel, from now on, in their order.

    After one that `take` fails at, none is taken: an ack of a later one would be one of it too.

    Args:
        failed: told why. The channel is to be closed, and the broker delivers it again.
    """

    def __init__(self, channel: Channel, take: Take, failed: Failed) -> None:
        self._channel = channel
        self._take = take
        self._failed = failed
        self._has_failed = False
        self._pass_on = channel.frames.put
        self._deliver: Basic.Deliver | None = None
        self._header = ContentHeader()
        self._parts: list[bytes] = []
        self._missing = 0
        channel.frames.put = self._arrived  # type: ignore[method-assign]

    async def _arrived(self, item: tuple[int, Any]) -> None:
        frame = item[1]
        if isinstance(frame, Basic.Deliver):
            self._deliver = frame
            self._parts.clear()
        elif self._deliver is not None and isinstance(frame, ContentHeader):
            self._header = frame
            self._missing = frame.body_size
            self._pass_if_whole(self._deliver)
        elif self._deliver is not None and isinstance(frame, ContentBody):
            self._parts.append(frame.value)
            self._missing -= len(frame.value)
            self._pass_if_whole(self._deliver)
        else:
            await self._pass_on(item)

    def _pass_if_whole(self, deliver: Basic.Deliver) -> None:
        if self._missing > 0:
            return
        self._deliver = None
        if not self._has_failed:
            try:
                body = b"".join(self._parts)
                self._take(DeliveredMessage(deliver, self._header, body, self._channel))
            except Exception as error:
                self._has_failed = True
                self._failed(error)
        self._parts.clear()
