"""AMQP frames of the hot path, written as bytes: publishes and acks.

The client library spends ten times as long on them, half of what a message costs (see
docs/decisions/0011-frames-of-the-hot-path.md). Everything else is the library's.
Source: AMQP 0-9-1 specification, §2.3.5 frame details, §4.2 grammar.
"""

from __future__ import annotations

import asyncio
from struct import Struct
from typing import Final

from aiormq.abc import ChannelFrame
from aiormq.channel import Channel
from pamqp import encode

from shared.messaging.messages.outgoing_message import OutgoingMessage

_FRAME: Final = Struct(">BHI")
_END: Final = b"\xce"
_METHOD, _HEADER, _BODY = 1, 2, 3
_PUBLISH: Final = b"\x00\x3c\x00\x28\x00\x00"  # class 60, method 40, reserved ticket
_ACK: Final = Struct(">BHIHHQBB")
_CONTENT: Final = Struct(">HHQH")
_TIMESTAMP: Final = Struct(">Q")

# Flags of the properties, in the order in which they are written.
_CONTENT_TYPE, _HEADERS, _DELIVERY_MODE = 1 << 15, 1 << 13, 1 << 12
_CORRELATION_ID, _REPLY_TO, _EXPIRATION = 1 << 10, 1 << 9, 1 << 8
_MESSAGE_ID, _TIMESTAMP_FLAG = 1 << 7, 1 << 6

_JSON: Final = b"\x10application/json"
_PERSISTENT: Final = b"\x02"


def publish_frames(channel: int, letter: OutgoingMessage, max_body: int) -> bytes:
    """The frames of one message. `max_body` is the most a body frame may hold."""
    method = b"".join(
        (
            _PUBLISH,
            _short(letter.exchange),
            _short(letter.routing_key),
            b"\x01" if letter.mandatory else b"\x00",
        )
    )
    header = _content_header(letter)
    body = letter.body
    parts = [_frame(_METHOD, channel, method), _frame(_HEADER, channel, header)]
    parts += [
        _frame(_BODY, channel, body[start : start + max_body])
        for start in range(0, len(body), max_body)
    ]
    return b"".join(parts)


def ack_frame(channel: int, delivery_tag: int, *, multiple: bool) -> bytes:
    """An ack of one delivery, or of all up to it."""
    return _ACK.pack(_METHOD, channel, 13, 60, 80, delivery_tag, multiple, 0xCE)


def _content_header(letter: OutgoingMessage) -> bytes:
    flags = _CONTENT_TYPE | _DELIVERY_MODE
    parts = [_JSON]
    if letter.headers:
        flags |= _HEADERS
        parts.append(encode.field_table(letter.headers))
    parts.append(_PERSISTENT)
    expiration = None if letter.expires_ms is None else str(letter.expires_ms)
    for flag, text in (
        (_CORRELATION_ID, letter.correlation_id),
        (_REPLY_TO, letter.reply_to),
        (_EXPIRATION, expiration),
        (_MESSAGE_ID, letter.message_id),
    ):
        if text:
            flags |= flag
            parts.append(_short(text))
    if letter.timestamp is not None:
        flags |= _TIMESTAMP_FLAG
        parts.append(_TIMESTAMP.pack(int(letter.timestamp.timestamp())))
    return _CONTENT.pack(60, 0, len(letter.body), flags) + b"".join(parts)


def _frame(kind: int, channel: int, payload: bytes) -> bytes:
    return _FRAME.pack(kind, channel, len(payload)) + payload + _END


def _short(text: str) -> bytes:
    encoded = text.encode()
    if len(encoded) > 255:
        raise ValueError("a short string of AMQP has at most 255 bytes")
    return bytes((len(encoded),)) + encoded


class FrameWriter:
    """Writes the frames of one channel. Those that come while a write waits go as one.

    What is not written when the channel is lost is dropped: its writer hears of the loss elsewhere.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._pending: list[bytes] = []
        self._task: asyncio.Task[None] | None = None
        # The connection's queue is bounded, and nobody empties it any more once it is lost.
        channel.closing.add_done_callback(self._lost)

    def write(self, frames: bytes) -> None:
        self._pending.append(frames)
        if self._task is None and not self._channel.is_closed:
            self._task = asyncio.create_task(self._write_all(), name="write frames")

    async def flush(self) -> None:
        """Return once all is handed to the connection, or lost with it."""
        if self._task is not None:
            await asyncio.wait([self._task])

    def _lost(self, _: object) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _write_all(self) -> None:
        try:
            while self._pending:
                payload = b"".join(self._pending)
                self._pending.clear()
                await self._channel.write_queue.put(ChannelFrame(payload, should_close=False))
        finally:
            self._task = None
