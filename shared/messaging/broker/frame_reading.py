"""Take frames out of what has arrived together, instead of asking the stream for each three times.

A message is three frames, and the client library asks its stream for one byte, six bytes and the
rest of each, a tenth of what a message costs in our process. How the bytes are cut is done here,
and those of the hot path are decoded by `frame_decoding`. All that follows is the library's: see
docs/decisions/0011-frames-of-the-hot-path.md.
Source: AMQP 0-9-1 specification, §2.3.5 frame details.
"""

from __future__ import annotations

from asyncio import StreamReader
from typing import Final

from aiormq import connection
from aiormq.connection import FrameReceiver, ReceivedFrame
from aiormq.exceptions import AMQPConnectionError, InvalidFrameError
from pamqp.exceptions import PAMQPException

from shared.messaging.broker import frame_decoding

_CHUNK: Final = 128 * 1024  # the longest frame that a broker sends unless it is told otherwise


def install() -> None:
    """Replace the library's receiver in this process. Repeating it changes nothing."""
    connection.FrameReceiver = BufferedFrames  # type: ignore[misc]


class BufferedFrames(FrameReceiver):
    """The frames of one connection, in order.

    Iteration ends when the stream has ended before a frame is asked for.
    `AMQPConnectionError`: it ends while one is awaited, or the connection fails.
    `InvalidFrameError`: the library cannot decode one.
    """

    def __init__(self, reader: StreamReader) -> None:
        super().__init__(reader)
        self._data = b""
        self._at = 0

    async def get_frame(self) -> ReceivedFrame:
        if not self.started:
            return await super().get_frame()  # it knows how a broker refuses our protocol
        if self._at == len(self._data) and self.reader.at_eof():
            raise StopAsyncIteration
        while (end := self._end()) > len(self._data):
            await self._read_more()
        frame = self._data[self._at : end]
        self._at = end
        try:
            return frame_decoding.unmarshal(frame)
        except PAMQPException as error:
            raise InvalidFrameError(str(error)) from error

    def _end(self) -> int:
        """Where the next frame ends, or at least where its head does."""
        head_end = self._at + frame_decoding.HEAD.size
        if head_end > len(self._data):
            return head_end
        _, _, length = frame_decoding.HEAD.unpack_from(self._data, self._at)
        return head_end + int(length) + 1

    async def _read_more(self) -> None:
        try:
            more = await self.reader.read(_CHUNK)
        except OSError as error:
            raise AMQPConnectionError(f"Server connection error: {error!r}") from error
        rest = self._data[self._at :]
        if not more:
            raise AMQPConnectionError(
                f"Server connection unexpectedly closed after {len(rest)} bytes of a frame"
            )
        self._data = rest + more
        self._at = 0
