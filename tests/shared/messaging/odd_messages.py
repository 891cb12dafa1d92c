"""Draw AMQP messages at random, as bytes: every property, every type of field, and odd values."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

import orjson
from hypothesis import strategies as st

from shared.contracts.parsing import MAX_BODY_BYTES
from tests.shared.messaging.raw_publisher import (
    APP_ID,
    CONTENT_ENCODING,
    CONTENT_TYPE,
    CORRELATION_ID,
    DELIVERY_MODE,
    EXPIRATION,
    HEADERS,
    MESSAGE_ID,
    MESSAGE_TYPE,
    PRIORITY,
    REPLY_TO,
    TIMESTAMP,
    USER_ID,
    short,
    table,
)

ROUTING_KEYS: Final = (b"user.updated.v1", b"user.signed_up.v1", b"user.updated.v2")


@dataclass(frozen=True)
class OddMessage:
    """A message on the wire. `properties`: by flag, encoded."""

    routing_key: bytes
    body: bytes
    properties: dict[int, bytes]


_SIZES: Final = {b"t": 1, b"b": 1, b"B": 1, b"s": 2, b"u": 2, b"I": 4, b"i": 4, b"l": 8}
_SIZES_TOO: Final = {b"L": 8, b"f": 4, b"d": 8, b"D": 5, b"T": 8, b"V": 0}

_text = st.one_of(
    st.sampled_from([b"", b"default", b"other", b"\0", b"\xff\xfe", b"a\0b", b"\xed\xa0\x80"]),
    st.binary(max_size=40),
    st.text(max_size=20).map(lambda text: text.encode("utf-8", "surrogatepass")),
)
_short_text = st.one_of(_text, st.binary(min_size=250, max_size=255)).map(lambda b: short(b[:255]))


def _long(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def _fixed(kind: bytes, size: int) -> st.SearchStrategy[bytes]:
    ends = [bytes(size), b"\xff" * size, b"\x7f" + b"\xff" * (size - 1) if size else b""]
    return st.one_of(st.sampled_from(ends), st.binary(min_size=size, max_size=size)).map(
        lambda value: kind + value
    )


_scalars = st.one_of(
    *(_fixed(kind, size) for kind, size in (_SIZES | _SIZES_TOO).items()),
    _text.map(lambda text: b"S" + _long(text)),
    _text.map(lambda text: b"x" + _long(text)),
    st.integers(5_000, 60_000).map(lambda size: b"S" + _long(b"z" * size)),
    st.integers(2_000, 30_000).map(lambda size: b"S" + _long(b"\xe4" * size)),
)
_names = st.one_of(
    st.sampled_from(
        [b"org", b"traceparent", b"x-sealed", b"x-death", b"x-delivery-count", b"x-raw-timestamp"]
    ),
    st.binary(max_size=20),
)


def _fields(values: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    pairs = st.lists(st.tuples(_names, values), max_size=5)
    return pairs.map(lambda found: b"".join(short(name) + value for name, value in found))


_values = st.recursive(
    _scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda found: b"A" + _long(b"".join(found))),
        _fields(inner).map(lambda fields: b"F" + table(fields)),
    ),
    max_leaves=12,
)


def _nested(depth: int) -> bytes:
    value = b"V"
    for at in range(depth):
        value = b"A" + _long(value) if at % 2 else b"F" + table(short(b"in") + value)
    return short(b"nest") + value


def _death(queue: bytes, reason: bytes, keys: bytes) -> bytes:
    """As the broker writes it, or a sender who says that it did."""
    fields = (
        (short(b"queue") + b"S" + _long(queue) + short(b"reason") + b"S" + _long(reason))
        + short(b"routing-keys")
        + keys
    )
    return short(b"x-death") + b"A" + _long(b"F" + table(fields))


_headers = st.one_of(
    _fields(_values),
    st.integers(1, 9_000).map(_nested),
    st.integers(1, 8_000).map(lambda count: (short(b"h") + b"V") * count),
    st.integers(1, 4_000).map(
        lambda count: b"".join(short(b"h%d" % n) + b"T" + b"\xff" * 8 for n in range(count))
    ),
    st.integers(100_000, 130_000).map(lambda size: short(b"big") + b"S" + _long(b"z" * size)),
    st.integers(100_000, 130_000).map(
        lambda size: short(b"traceparent") + b"S" + _long(b"0" * size)
    ),
    st.integers(100_000, 130_000).map(lambda size: short(b"org") + b"S" + _long(b"d" * size)),
    st.builds(
        _death,
        st.sampled_from([b"billing-worker.intake.commands", b"app.intake.x", b"\xff.intake"]),
        st.sampled_from([b"expired", b"rejected", b"\xff"]),
        st.one_of(
            _scalars, st.lists(_scalars, max_size=2).map(lambda v: b"A" + _long(b"".join(v)))
        ),
    ),
).map(table)

_octet = st.binary(min_size=1, max_size=1)
_instant = st.one_of(
    st.sampled_from(
        [0, 1, 2**31, 2**32, 1_700_000_000_000, 1_700_000_000_000_000, 2**63, 2**64 - 1]
    ),
    st.integers(0, 2**64 - 1),
).map(lambda at: struct.pack(">Q", at))
_replies = st.one_of(
    _short_text,
    st.sampled_from(
        [b"answers", b"amq.rabbitmq.reply-to.g1h2AA", b"amq.rabbitmq.reply-to.\xff", b"unrouted"]
    ).map(short),
)

_properties: Final = {
    CONTENT_TYPE: _short_text,
    CONTENT_ENCODING: _short_text,
    HEADERS: _headers,
    DELIVERY_MODE: _octet,
    PRIORITY: _octet,
    CORRELATION_ID: _short_text,
    REPLY_TO: _replies,
    EXPIRATION: st.sampled_from([b"60000", b"86400000"]).map(short),
    TIMESTAMP: _instant,
    MESSAGE_TYPE: _short_text,
    USER_ID: st.just(short(b"relay")),
    APP_ID: _short_text,
}

_ids = st.one_of(
    st.uuids().map(lambda found: found.hex.encode()),
    st.uuids().map(lambda found: found.bytes),
    st.binary(min_size=129, max_size=255),
    st.just(b""),
)


def _body(name: str, user_id: str) -> bytes:
    return orjson.dumps({"user_id": user_id, "full_name": name})


_bodies = st.one_of(
    st.builds(_body, st.just("Odd"), st.uuids().map(str)),
    st.binary(max_size=60),
    st.sampled_from([b"", b"{", b"[" * 5_000, b'{"user_id": "u\\ud800"}', b'{"user_id": 1e999}']),
    st.integers(MAX_BODY_BYTES - 2, MAX_BODY_BYTES + 2).map(lambda size: b" " * size),
    st.integers(3, 9).map(lambda size: b"z" * size * 1024 * 1024),
)


@st.composite
def odd_messages(draw: st.DrawFn) -> OddMessage:
    """A message with some of the properties, each of any value that its type has."""
    chosen = draw(st.sets(st.sampled_from([*_properties]), max_size=6))
    properties = {flag: draw(_properties[flag]) for flag in chosen}
    if draw(st.integers(0, 9)):
        properties[MESSAGE_ID] = short(draw(_ids))
    routing_key = draw(st.one_of(st.sampled_from(ROUTING_KEYS), st.binary(max_size=255)))
    return OddMessage(routing_key, draw(_bodies), properties)
