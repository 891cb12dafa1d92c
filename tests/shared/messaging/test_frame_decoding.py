"""Frames of the hot path are decoded into what the client library makes of them."""

from __future__ import annotations

from datetime import UTC, datetime
from struct import pack
from typing import Any

import pamqp.frame
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.exceptions import PAMQPException
from pamqp.header import ContentHeader

from shared.messaging.broker import frame_decoding, lenient_decoding

METHOD, HEADER, BODY = 1, 2, 3
BASIC = 60

PROPERTIES = Basic.Properties(
    content_type="application/json",
    content_encoding="gzip",
    headers={"org": "default", "tries": 3, "inner": {"of": ["a", 1]}},
    delivery_mode=2,
    priority=4,
    correlation_id="c-1",
    reply_to="answers",
    expiration="60000",
    message_id="m-ü",
    timestamp=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    message_type="kind",
    user_id="guest",
    app_id="billing",
)

HOT = [
    Basic.Deliver("ctag1.5a", 7, False, "zoho.commands", "user.updated.v1"),
    Basic.Deliver("", 2**63 - 1, True, "", ""),
    Basic.Ack(5, multiple=True),
    Basic.Ack(6, multiple=False),
    ContentHeader(0, 1024, PROPERTIES),
    ContentHeader(0, 2**40, Basic.Properties()),
    ContentHeader(0, 0, Basic.Properties(message_id="m-1")),
    ContentBody(b"\xce{}\xce"),
]
OTHERS = [Basic.Nack(5), Basic.Cancel("tag"), Basic.Qos(prefetch_count=128)]


@pytest.fixture(autouse=True)
def _lenient() -> None:
    lenient_decoding.install()  # as every connection does


@pytest.mark.parametrize("value", HOT, ids=lambda value: f"{value.name}")
def test_what_is_hot_is_decoded_without_the_library(
    value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = pamqp.frame.marshal(value, 3)
    expected = _described(pamqp.frame.unmarshal, sent)
    monkeypatch.setattr(pamqp.frame, "unmarshal", _must_not_be_asked)

    assert _described(frame_decoding.unmarshal, sent) == expected


@pytest.mark.parametrize("value", OTHERS, ids=lambda value: f"{value.name}")
def test_all_else_is_left_to_the_library(value: Any) -> None:
    sent = pamqp.frame.marshal(value, 3)
    assert _described(frame_decoding.unmarshal, sent) == _described(pamqp.frame.unmarshal, sent)


@given(
    st.sampled_from([METHOD, HEADER, BODY]),
    st.binary(max_size=40)
    | st.binary(max_size=40).map(lambda rest: pack(">HH", BASIC, 60) + rest)
    | st.binary(max_size=40).map(lambda rest: pack(">HH", BASIC, 80) + rest)
    | st.builds(
        lambda flags, rest: pack(">HHQH", BASIC, 0, 9, flags) + rest,
        st.integers(0, 2**16 - 1),
        st.binary(max_size=60),
    ),
    st.sampled_from([0xCE, 0xCE, 0]),
)
@example(METHOD, pack(">HHQ", BASIC, 80, 5), 0xCE)  # its last byte is the end of the frame
@example(METHOD, pack(">HHBQ", BASIC, 60, 0, 5) + b"\0\0", 0xCE)
@example(HEADER, pack(">HHQB", BASIC, 0, 9, 0), 0xCE)
def test_whatever_is_sent_ends_as_in_the_library(kind: int, payload: bytes, end: int) -> None:
    sent = pack(">BHI", kind, 3, len(payload)) + payload + bytes([end])

    assert _described(frame_decoding.unmarshal, sent) == _described(pamqp.frame.unmarshal, sent)


def _described(unmarshal: Any, sent: bytes) -> object:
    """The frame with all that it holds, or the kind of the error."""
    try:
        size, channel, value = unmarshal(sent)
    except (PAMQPException, ArithmeticError, LookupError, ValueError) as error:
        return type(error)
    return size, channel, type(value), _held(value)


def _held(value: Any) -> object:
    if isinstance(value, ContentHeader):
        return value.class_id, value.weight, value.body_size, dict(value.properties)
    return value.value if isinstance(value, ContentBody) else dict(value)


def _must_not_be_asked(_: bytes) -> None:
    raise AssertionError("the library was asked")
