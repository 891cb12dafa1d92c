"""Publish messages whose properties no client library would write."""

from __future__ import annotations

import struct

import aiormq

from shared.messaging.broker.frames import FrameWriter

CONTENT_TYPE, HEADERS, CORRELATION_ID = 1 << 15, 1 << 13, 1 << 10
REPLY_TO, EXPIRATION, MESSAGE_ID, TIMESTAMP = 1 << 9, 1 << 8, 1 << 7, 1 << 6


def short(value: bytes) -> bytes:
    return bytes((len(value),)) + value


def table(fields: bytes) -> bytes:
    return struct.pack(">I", len(fields)) + fields


async def publish_raw(
    amqp_url: str, routing_key: bytes, body: bytes, properties: dict[int, bytes]
) -> None:
    """Publish to `zoho.commands` and return once the broker has it. Properties by flag, encoded."""
    async with await aiormq.connect(amqp_url) as connection:
        channel = await connection.channel(publisher_confirms=True)
        channel.delivery_tag += 1
        confirmed = channel.loop.create_future()
        channel.confirmations[channel.delivery_tag] = confirmed
        flags = sum(properties)
        values = b"".join(properties[flag] for flag in sorted(properties, reverse=True))
        method = b"\x00\x3c\x00\x28\x00\x00" + short(b"zoho.commands") + short(routing_key) + b"\0"
        header = struct.pack(">HHQH", 60, 0, len(body), flags) + values
        frames = [(1, method), (2, header), (3, body)]
        writer = FrameWriter(channel)
        writer.write(
            b"".join(
                struct.pack(">BHI", kind, channel.number, len(payload)) + payload + b"\xce"
                for kind, payload in frames
            )
        )
        await confirmed
