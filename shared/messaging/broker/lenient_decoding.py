"""Decode each value of an AMQP frame by itself, and keep raw what cannot be decoded.

The client library decodes a message's properties and its routing key in the reader of the
connection. One value that it cannot decode (a timestamp in microseconds, text in Latin-1, both of
which the broker takes) ends the reader, and with it the connection of everybody. Here text that is
not UTF-8 comes as bytes, a timestamp out of range as its number, and what cannot be read of a table
is left out and counted.
Source: AMQP 0-9-1 specification, §4.2.5 data types. RabbitMQ's errata on the types of fields.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from pamqp import decode

_NUMBER: Final = struct.Struct(">Q")
_LENGTH: Final = struct.Struct(">I")
_MILLISECONDS_FROM: Final = 1 << 32  # seconds of the year 2106, as the library has it
UNREADABLE: Final = "x-unreadable-headers"
"""In a table of headers: how many of its values could not be read."""

_Decoder = Callable[[bytes], tuple[int, Any]]


def install() -> None:
    """Replace the library's decoders in this process. Repeating it changes nothing."""
    decode.METHODS.update(shortstr=_short_text, timestamp=_timestamp, table=_table)
    decode.TABLE_MAPPING.update({b"T": _timestamp, b"F": _table, b"A": _array})


def _short_text(value: bytes) -> tuple[int, str | bytes]:
    end = value[0] + 1
    return end, _text(value[1:end])


def _timestamp(value: bytes) -> tuple[int, datetime | int]:
    (number,) = _NUMBER.unpack_from(value)
    seconds = number / 1000 if number >= _MILLISECONDS_FROM else number
    try:
        return 8, datetime.fromtimestamp(seconds, tz=UTC)
    except (ValueError, OverflowError, OSError):
        return 8, number


def _table(value: bytes) -> tuple[int, dict[str, Any]]:
    (length,) = _LENGTH.unpack_from(value)
    end = length + 4
    fields: dict[str, Any] = {}
    at = 4
    while at < end:
        name_end = at + 1 + value[at]
        name = value[at + 1 : name_end].decode("utf-8", "replace")
        try:
            size, fields[name] = decode.embedded_value(value[name_end:end])
        except (ValueError, ArithmeticError, struct.error, IndexError):
            # Nothing says where the next field begins.
            fields.pop(name, None)
            fields[UNREADABLE] = 1
            break
        at = name_end + size
    return end, fields


def _array(value: bytes) -> tuple[int, list[Any]]:
    (length,) = _LENGTH.unpack_from(value)
    end = length + 4
    values: list[Any] = []
    at = 4
    while at < end:
        size, item = decode.embedded_value(value[at:end])
        if size == 0:
            break
        values.append(item)
        at += size
    return end, values


def _text(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
