"""Decode the frames of the hot path: deliveries, with their headers and bodies, and confirms.

The client library goes through a frame attribute by attribute, asking each for its type, which is a
twentieth of what a message costs in our process. What is built here is what it would have built,
its values decoded by its own table. All other frames, and what does not fit, are left to it: see
docs/decisions/0011-frames-of-the-hot-path.md.
Source: AMQP 0-9-1 specification, §2.3.5 frame details, §4.2 grammar.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final

import pamqp.frame
from aiormq.connection import ReceivedFrame
from pamqp import decode
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

HEAD: Final = struct.Struct(">BHI")
"""Type, channel, length. The end is one more byte."""

_END: Final = 0xCE
_METHOD, _HEADER, _BODY = 1, 2, 3
_DELIVER: Final = b"\x00\x3c\x00\x3c"  # class 60, method 60
_ACK: Final = b"\x00\x3c\x00\x50"  # class 60, method 80
_AT: Final = HEAD.size
_ARGUMENTS_AT: Final = _AT + 4
_TAG_AND_BITS: Final = struct.Struct(">qB")  # the library reads it as signed
_CONTENT: Final = struct.Struct(">HHQH")
_MORE_FLAGS: Final = 1
_PROPERTIES: Final = [
    (flag, name, Basic.Properties.amqp_type(name)) for name, flag in Basic.Properties.flags.items()
]


def unmarshal(frame: bytes) -> ReceivedFrame:
    """What `pamqp.frame.unmarshal` makes of exactly one frame, and the errors that it raises."""
    kind, channel, _ = HEAD.unpack_from(frame)
    decode_payload = _DECODERS.get(kind)
    if decode_payload is not None and frame[-1] == _END:
        try:
            decoded = decode_payload(frame)
        except (IndexError, struct.error, ValueError):
            decoded = None  # the library says what is wrong with it
        if decoded is not None:
            return len(frame), channel, decoded
    return pamqp.frame.unmarshal(frame)


def _method(frame: bytes) -> Basic.Deliver | Basic.Ack | None:
    method = frame[_AT:_ARGUMENTS_AT]
    if method == _DELIVER:
        return _deliver(frame)
    if method == _ACK and len(frame) == _ARGUMENTS_AT + _TAG_AND_BITS.size + 1:
        tag, bits = _TAG_AND_BITS.unpack_from(frame, _ARGUMENTS_AT)
        return Basic.Ack(tag, multiple=bool(bits & 1))
    return None


def _deliver(frame: bytes) -> Basic.Deliver | None:
    deliver = Basic.Deliver()
    at, deliver.consumer_tag = _short_text(frame, _ARGUMENTS_AT)
    deliver.delivery_tag, bits = _TAG_AND_BITS.unpack_from(frame, at)
    deliver.redelivered = bool(bits & 1)
    at, deliver.exchange = _short_text(frame, at + _TAG_AND_BITS.size)
    at, deliver.routing_key = _short_text(frame, at)
    return deliver if at == len(frame) - 1 else None


def _header(frame: bytes) -> ContentHeader | None:
    data = frame[_AT:-1]
    class_id, weight, size, flags = _CONTENT.unpack_from(data)
    if flags & _MORE_FLAGS:
        return None
    properties = Basic.Properties()
    data = data[_CONTENT.size :]
    for flag, name, kind in _PROPERTIES:
        if flags & flag:
            used, value = decode.METHODS[kind](data)
            setattr(properties, name, value)
            data = data[used:]
    header = ContentHeader(weight, size, properties)
    header.class_id = class_id
    return header


def _body(frame: bytes) -> ContentBody | None:
    return ContentBody(frame[_AT:-1]) if len(frame) > _AT + 1 else None


def _short_text(frame: bytes, at: int) -> tuple[int, Any]:
    """Where the next value begins, and the text at `at`."""
    end = at + 1 + frame[at]
    _, text = decode.METHODS["shortstr"](frame[at:end])
    return end, text


_DECODERS: Final[dict[int, Callable[[bytes], Any]]] = {
    _METHOD: _method,
    _HEADER: _header,
    _BODY: _body,
}
