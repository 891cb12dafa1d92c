"""Decode each value of an AMQP frame by itself, and keep raw what cannot be decoded.

The client library decodes a message's properties and its routing key in the reader of the
connection. One value that it cannot decode (a timestamp in microseconds, text in Latin-1, both of
which the broker takes) ends the reader, and with it the connection of everybody. Here text that is
not UTF-8 comes as bytes, and a timestamp out of range as its number. A table's value that cannot be
read, or is nested very deep, is left out and counted.
Source: AMQP 0-9-1 specification, §4.2.5 data types. RabbitMQ's errata on the types of fields.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from pamqp import decode

_NUMBER: Final = struct.Struct(">Q")
_LENGTH: Final = struct.Struct(">I")
_DECIMAL: Final = struct.Struct(">BI")
_MILLISECONDS_FROM: Final = 1 << 32  # seconds of the year 2106, as the library has it
_DEEPEST: Final = 32  # tables within tables. A frame has room for 20,000 of them
_FIXED: Final = {
    ord("t"): struct.Struct(">?"),
    ord("b"): struct.Struct(">b"),
    ord("B"): struct.Struct(">B"),
    ord("s"): struct.Struct(">h"),
    ord("u"): struct.Struct(">H"),
    ord("I"): struct.Struct(">i"),
    ord("i"): struct.Struct(">I"),
    ord("l"): struct.Struct(">q"),
    ord("L"): struct.Struct(">q"),
    ord("f"): struct.Struct(">f"),
    ord("d"): struct.Struct(">d"),
}
_VOID: Final = (ord("V"), 0)
_TIME, _FRACTION = b"TD"
_LONG: Final = b"SxFA"  # with a length before them
_TEXT, _BYTES, _TABLE, _ARRAY = _LONG

UNREADABLE: Final = "x-unreadable-headers"
"""In a table: how many of its values could not be read."""


class _UnreadableError(Exception):
    """A value of an unknown type, cut off, or nested too deep.

    `end`: where the next value begins. None: nothing says that.
    """

    def __init__(self, end: int | None = None) -> None:
        self.end = end


def install() -> None:
    """Replace the library's decoders in this process. Repeating it changes nothing."""
    decode.METHODS.update(shortstr=_short_text, timestamp=_timestamp, table=_table)


def _short_text(value: bytes) -> tuple[int, str | bytes]:
    end = value[0] + 1
    return end, _text(value[1:end])


def _timestamp(value: bytes) -> tuple[int, datetime | int]:
    (number,) = _NUMBER.unpack_from(value)
    return 8, _instant(number)


def _table(value: bytes) -> tuple[int, dict[str, Any]]:
    """A property that is a table. What cannot be read of it is left out."""
    (length,) = _LENGTH.unpack_from(value)
    fields: dict[str, Any] = {}
    left_out = 0
    at: int | None = 4
    end = length + 4
    while at is not None and at < end:
        name, value_at = _name(value, at)
        try:
            at, fields[name] = _value(value, value_at, end, 0)
        except _UnreadableError as error:
            left_out += 1
            at = error.end
    if left_out:
        fields[UNREADABLE] = left_out
    return end, fields


def _fields(data: bytes, at: int, end: int, depth: int) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    while at < end:
        name, value_at = _name(data, at)
        at, fields[name] = _value(data, value_at, end, depth)
    return fields


def _items(data: bytes, at: int, end: int, depth: int) -> list[Any]:
    items: list[Any] = []
    while at < end:
        at, item = _value(data, at, end, depth)
        items.append(item)
    return items


def _name(data: bytes, at: int) -> tuple[str, int]:
    """The name of a field, and where its value begins."""
    end = at + 1 + data[at]
    return data[at + 1 : end].decode("utf-8", "replace"), end


def _value(data: bytes, at: int, end: int, depth: int) -> tuple[int, Any]:
    """Where the next value begins, and the value at `at`."""
    if at >= end:
        raise _UnreadableError
    kind, at = data[at], at + 1
    if kind in _VOID:
        return at, None
    try:
        if (fixed := _FIXED.get(kind)) is not None:
            return at + fixed.size, fixed.unpack_from(data, at)[0]
        if kind == _TIME:
            return at + 8, _instant(_NUMBER.unpack_from(data, at)[0])
        if kind == _FRACTION:
            scale, digits = _DECIMAL.unpack_from(data, at)
            return at + 5, Decimal(digits).scaleb(-scale)
        value_end = at + 4 + _LENGTH.unpack_from(data, at)[0]
    except struct.error as error:
        raise _UnreadableError from error
    if value_end > end or kind not in _LONG:
        raise _UnreadableError
    try:
        return value_end, _long_value(data, kind, at + 4, value_end, depth)
    except _UnreadableError as error:
        raise _UnreadableError(value_end) from error


def _long_value(data: bytes, kind: int, at: int, end: int, depth: int) -> Any:
    if kind == _TEXT:
        return _text(data[at:end])
    if kind == _BYTES:
        return data[at:end]
    if depth == _DEEPEST:
        raise _UnreadableError
    inside = _fields if kind == _TABLE else _items
    return inside(data, at, end, depth + 1)


def _instant(number: int) -> datetime | int:
    seconds = number / 1000 if number >= _MILLISECONDS_FROM else number
    try:
        return datetime.fromtimestamp(seconds, tz=UTC)
    except (ValueError, OverflowError, OSError):
        return number


def _text(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
