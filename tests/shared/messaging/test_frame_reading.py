"""How what a broker sends is cut into frames."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import aiormq.connection
import pytest
from aiormq.connection import FrameReceiver
from aiormq.exceptions import AMQPConnectionError, InvalidFrameError
from pamqp import commands, frame, header, heartbeat
from pamqp.body import ContentBody

from shared.messaging.broker import frame_reading
from shared.messaging.broker.frame_reading import BufferedFrames

_BODY = b"x" * 100_000

# What a connection begins with, then two messages, the first of them in two bodies.
_SENT = b"".join(
    frame.marshal(value, channel)
    for channel, value in (
        (0, commands.Connection.Start(server_properties={"product": "a broker"})),
        (0, heartbeat.Heartbeat()),
        (1, commands.Basic.Deliver("tag", 1, False, "zoho.commands", "user.updated.v1")),
        (1, header.ContentHeader(0, len(_BODY) + 2, commands.Basic.Properties(message_id="m-1"))),
        (1, ContentBody(_BODY)),
        (1, ContentBody(b"\xce\xce")),
        (1, commands.Basic.Deliver("tag", 2, True, "zoho.commands", "user.updated.v1")),
        (1, header.ContentHeader(0, 0, commands.Basic.Properties())),
        (0, heartbeat.Heartbeat()),
    )
)


async def _frames(
    receiver: type[FrameReceiver], sent: bytes, cuts: Sequence[int]
) -> list[tuple[int, int, bytes]]:
    """The frames that are read when the bytes arrive in pieces that end at `cuts`."""
    reader = asyncio.StreamReader()
    frames = receiver(reader)

    async def send() -> None:
        began = 0
        for end in cuts:
            reader.feed_data(sent[began:end])
            began = end
            await asyncio.sleep(0)
        reader.feed_data(sent[began:])
        reader.feed_eof()

    sending = asyncio.create_task(send())
    read = [(size, channel, frame.marshal(value, channel)) async for size, channel, value in frames]
    await sending
    return read


@pytest.mark.parametrize(
    "cuts",
    [
        (),
        range(1, 700),
        range(3, len(_SENT), 1000),
        [len(_SENT) - 1],
    ],
    ids=["together", "byte by byte", "in pieces", "the last byte late"],
)
async def test_frames_are_those_of_the_library_however_they_arrive(cuts: Sequence[int]) -> None:
    expected = await _frames(FrameReceiver, _SENT, ())
    assert len(expected) == 9

    assert await _frames(BufferedFrames, _SENT, cuts) == expected


async def test_a_stream_that_ends_within_a_frame_is_a_lost_connection() -> None:
    with pytest.raises(AMQPConnectionError):
        await _frames(BufferedFrames, _SENT[:-1], ())


async def test_a_stream_that_ends_while_a_frame_is_awaited_is_a_lost_connection() -> None:
    for receiver in (FrameReceiver, BufferedFrames):
        reader = asyncio.StreamReader()
        reader.feed_data(_SENT)
        frames = receiver(reader)
        for _ in range(9):
            await frames.get_frame()
        awaited = asyncio.ensure_future(frames.get_frame())
        await asyncio.sleep(0)
        reader.feed_eof()
        with pytest.raises(AMQPConnectionError):
            await awaited


async def test_a_frame_that_ends_otherwise_is_invalid() -> None:
    spoilt = bytearray(_SENT[:-8])  # without the heartbeat, whose end nobody looks at
    spoilt[-1] = 0
    with pytest.raises(InvalidFrameError):
        await _frames(BufferedFrames, bytes(spoilt), ())


async def test_a_broker_that_speaks_another_protocol_is_told_as_the_library_tells_it() -> None:
    for receiver in (FrameReceiver, BufferedFrames):
        with pytest.raises(Exception, match="protocol header"):
            await _frames(receiver, b"AMQP\x00\x00\x09\x01", ())


def test_connections_use_it() -> None:
    frame_reading.install()
    assert aiormq.connection.FrameReceiver is BufferedFrames
