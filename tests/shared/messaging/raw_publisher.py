"""Publish messages whose properties no client library would write."""

from __future__ import annotations

import asyncio
import struct
from contextlib import suppress
from types import TracebackType
from typing import Self

import aiormq
from aiormq.abc import AbstractChannel, AbstractConnection
from aiormq.channel import Channel

from shared.messaging.broker.frames import FrameWriter

CONTENT_TYPE, CONTENT_ENCODING, HEADERS, DELIVERY_MODE = 1 << 15, 1 << 14, 1 << 13, 1 << 12
PRIORITY, CORRELATION_ID, REPLY_TO, EXPIRATION = 1 << 11, 1 << 10, 1 << 9, 1 << 8
MESSAGE_ID, TIMESTAMP, MESSAGE_TYPE, USER_ID, APP_ID = 1 << 7, 1 << 6, 1 << 5, 1 << 4, 1 << 3

_FRAME_AT_MOST = 131_072 - 8


def short(value: bytes) -> bytes:
    return bytes((len(value),)) + value


def table(fields: bytes) -> bytes:
    return struct.pack(">I", len(fields)) + fields


class RawPublisher:
    """Publishes to `zoho.commands` on a connection of its own, opened again when it is lost.

    The broker ends the connection of whoever sends what it does not let through.
    """

    def __init__(self, amqp_url: str) -> None:
        self._url = amqp_url
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._connection is not None:
            await self._connection.close()

    async def publish(self, routing_key: bytes, body: bytes, properties: dict[int, bytes]) -> bool:
        """Publish. Properties by flag, encoded. False: the broker did not let it through."""
        channel = await self._open()
        assert isinstance(channel, Channel)
        channel.delivery_tag += 1
        confirmed = channel.loop.create_future()
        channel.confirmations[channel.delivery_tag] = confirmed
        FrameWriter(channel).write(_frames(channel.number, routing_key, body, properties))
        await asyncio.wait([confirmed, channel.closing], return_when=asyncio.FIRST_COMPLETED)
        if confirmed.done():
            return True
        confirmed.cancel()
        return False

    async def _open(self) -> AbstractChannel:
        if self._connection is None or self._connection.is_closed:
            self._connection = await aiormq.connect(self._url)
            self._channel = None
        if self._channel is None or self._channel.is_closed:
            with suppress(ConnectionError, RuntimeError):
                self._channel = await self._connection.channel(publisher_confirms=True)
                return self._channel
            await self._connection.close()
            return await self._open()
        return self._channel


async def publish_raw(
    amqp_url: str, routing_key: bytes, body: bytes, properties: dict[int, bytes]
) -> None:
    """Publish to `zoho.commands` and return once the broker has it. Properties by flag, encoded."""
    async with RawPublisher(amqp_url) as publisher:
        assert await publisher.publish(routing_key, body, properties)


def _frames(channel: int, routing_key: bytes, body: bytes, properties: dict[int, bytes]) -> bytes:
    flags = sum(properties)
    values = b"".join(properties[flag] for flag in sorted(properties, reverse=True))
    method = b"\x00\x3c\x00\x28\x00\x00" + short(b"zoho.commands") + short(routing_key) + b"\0"
    header = struct.pack(">HHQH", 60, 0, len(body), flags) + values
    parts = [body[start : start + _FRAME_AT_MOST] for start in range(0, len(body), _FRAME_AT_MOST)]
    frames = [(1, method), (2, header), *((3, part) for part in parts)]
    return b"".join(
        struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"
        for kind, payload in frames
    )
