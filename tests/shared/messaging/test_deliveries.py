"""Deliveries are put together as the client library does, and nothing else is taken from it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiormq.abc import DeliveredMessage
from aiormq.channel import Channel
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from shared.messaging.broker.deliveries import Deliveries


class Arriving:
    """A channel on which frames arrive, and what is made of them."""

    def __init__(self) -> None:
        self.taken: list[DeliveredMessage] = []
        self.channel = cast("Channel", SimpleNamespace(frames=asyncio.Queue[Any]()))
        self.failures: list[Exception] = []
        Deliveries(self.channel, self._take, self.failures.append)

    def _take(self, message: DeliveredMessage) -> None:
        if message.body == b"bad":
            raise ValueError
        self.taken.append(message)

    async def arrive(self, *frames: object) -> None:
        for frame in frames:
            await self.channel.frames.put((0, frame))

    def left(self) -> list[object]:
        """What the library reads."""
        frames = self.channel.frames
        return [frames.get_nowait()[1] for _ in range(frames.qsize())]


@pytest.fixture
def arriving() -> Arriving:
    return Arriving()


def _deliver(tag: int) -> Basic.Deliver:
    return Basic.Deliver("ctag", tag, False, "zoho.commands", "user.updated.v1")


def _header(size: int, message_id: str = "m") -> ContentHeader:
    return ContentHeader(0, size, Basic.Properties(message_id=message_id))


async def test_a_message_is_taken_with_its_last_frame(arriving: Arriving) -> None:
    await arriving.arrive(_deliver(1), _header(5, "m-1"), ContentBody(b"abc"))
    assert not arriving.taken

    await arriving.arrive(ContentBody(b"de"))

    (message,) = arriving.taken
    assert (message.delivery_tag, message.body) == (1, b"abcde")
    assert message.header.properties.message_id == "m-1"
    assert message.channel is arriving.channel
    assert arriving.left() == []


async def test_messages_are_taken_in_their_order_also_those_without_a_body(
    arriving: Arriving,
) -> None:
    await arriving.arrive(
        _deliver(1), _header(0), _deliver(2), _header(1), ContentBody(b"b"), _deliver(3), _header(0)
    )

    assert [(each.delivery_tag, each.body) for each in arriving.taken] == [
        (1, b""),
        (2, b"b"),
        (3, b""),
    ]


async def test_all_other_frames_are_the_library_s(arriving: Arriving) -> None:
    others = [Basic.QosOk(), Basic.ConsumeOk("ctag"), Basic.Cancel("ctag")]
    returned = [Basic.Return(312, "NO_ROUTE", "", "gone"), _header(1), ContentBody(b"r")]

    await arriving.arrive(*others, _deliver(1), _header(1), ContentBody(b"a"), *returned)

    assert arriving.left() == [*others, *returned]
    assert [each.body for each in arriving.taken] == [b"a"]


async def test_after_one_that_fails_none_is_taken(arriving: Arriving) -> None:
    bad = (_deliver(2), _header(3), ContentBody(b"bad"))

    await arriving.arrive(_deliver(1), _header(0), *bad, _deliver(3), _header(0), *bad)

    assert [each.delivery_tag for each in arriving.taken] == [1]
    assert [type(each) for each in arriving.failures] == [ValueError]
    assert arriving.left() == []
