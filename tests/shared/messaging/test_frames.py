"""Our frames are those that the client library writes, byte by byte."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from aiormq.abc import ChannelFrame
from pamqp import commands
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from shared.messaging.broker.frames import ack_frame, publish_frames
from shared.messaging.messages.outgoing_message import OutgoingMessage

LETTERS = [
    OutgoingMessage("zoho.events", "a.b.v1", "m1", b"{}", mandatory=False),
    OutgoingMessage(
        "", "queue", "m1", b"x" * 1000, correlation_id="c", reply_to="r", expires_ms=600_000
    ),
    OutgoingMessage(
        "zoho.webhooks",
        "päckchen",
        "m" * 128,
        b"",
        timestamp=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        headers={"org": "default", "x-sealed": 1, "nested": {"a": [1, "b", None, True]}},
    ),
]


@pytest.mark.parametrize("letter", LETTERS)
def test_a_publish(letter: OutgoingMessage) -> None:
    publish = commands.Basic.Publish(
        exchange=letter.exchange, routing_key=letter.routing_key, mandatory=letter.mandatory
    )
    header = ContentHeader(properties=letter.properties(), body_size=len(letter.body))
    bodies = [ContentBody(letter.body[at : at + 300]) for at in range(0, len(letter.body), 300)]

    expected = ChannelFrame.marshall(7, [publish, header, *bodies]).payload

    assert publish_frames(7, letter, 300) == expected


@pytest.mark.parametrize("multiple", [True, False])
def test_an_ack(multiple: bool) -> None:
    frame = commands.Basic.Ack(delivery_tag=2**40, multiple=multiple)

    assert ack_frame(3, 2**40, multiple=multiple) == ChannelFrame.marshall(3, [frame]).payload


class _Open:
    def add_done_callback(self, _: object) -> None:
        """It stays open."""


class _Channel:
    number = 1
    is_closed = False
    closing = _Open()


class _Written:
    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def write(self, frame: bytes) -> None:
        self.frames.append(frame)
