"""Turn the client library's message into a ReceivedMessage."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

import structlog
from aiormq.abc import DeliveredMessage
from pamqp import commands

from shared.messaging.broker.lenient_decoding import UNREADABLE
from shared.messaging.messages.outgoing_message import SEALED
from shared.messaging.messages.received_message import NOT_TEXT, ReceivedMessage

_log = structlog.get_logger(__name__)

DEFAULT_ORG: Final = "default"

MAX_HEADERS_BYTES: Final = 16 * 1024
"""Of a sender's headers, together. What is beyond is dropped: with ours, it must fit a frame."""

_MAX_TRACEPARENT: Final = 128
_MAX_SHORT_BYTES: Final = 255

# What decides something, and is kept before the sender's own.
_OURS: Final = ("org", SEALED)

# The broker's own: they say how a message came here, not what its sender said.
_BROKERS: Final = ("x-death", "x-delivery-count", "x-acquired-count", "cc", "bcc")
_BROKERS_PREFIXES: Final = ("x-first-death", "x-last-death", "x-opt-")


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message, and how the broker delivered it.

    `deliveries` counts this one, 1 at the first. `unreadable` names the properties whose value
    could not be decoded. `dropped` counts the headers that were beyond the bound. `died_of` is the
    broker's reason for a message that it dead-lettered itself (`expired`, `delivery_limit`).
    """

    message: ReceivedMessage
    delivery_tag: int
    deliveries: int = 1
    unreadable: tuple[str, ...] = ()
    dropped: int = 0
    died_of: str | None = None


def decode(
    delivered: DeliveredMessage, known_orgs: frozenset[str], *, dead_lettered: bool = False
) -> Arrival:
    """Decode each property by itself. Nothing that the broker lets through makes this raise.

    What fails all the same comes without properties, as unreadable: it is given up then, and holds
    up nothing. An unknown organization is kept under `default`: its name is anybody's text, and
    every row and key has one. The header itself is checked by the validation.

    Args:
        dead_lettered: it came by a queue that only the broker fills, so `x-death` is the broker's.
    Raises:
        MemoryError: it may be decoded another time.
    """
    try:
        return _decoded(delivered, known_orgs, dead_lettered=dead_lettered)
    except MemoryError:  # which says nothing against it
        raise
    except Exception:
        _log.exception("a message's properties are not decoded")
        return _without_properties(delivered)


def _without_properties(delivered: DeliveredMessage) -> Arrival:
    message = ReceivedMessage(
        exchange=_text(delivered.exchange),
        routing_key=_text(delivered.routing_key),
        message_id="",
        org=DEFAULT_ORG,
        correlation_id=str(uuid4()),
        body=delivered.body,
    )
    return Arrival(message, delivered.delivery_tag or 0, unreadable=("all",))


def _decoded(
    delivered: DeliveredMessage, known_orgs: frozenset[str], *, dead_lettered: bool
) -> Arrival:
    properties: commands.Basic.Properties = delivered.header.properties
    frame = delivered.delivery
    table: Mapping[str, Any] = properties.headers if isinstance(properties.headers, dict) else {}
    death = _death(table) if dead_lettered else None
    exchange, routing_key = getattr(frame, "exchange", ""), getattr(frame, "routing_key", "")
    if death is not None:
        keys = death.get("routing-keys")
        routing_key = keys[0] if isinstance(keys, list) and keys else ""
        exchange = death.get("exchange", "")
    org = table.get("org")
    headers, dropped = _kept(table)
    traceparent = _text(table.get("traceparent"))
    unreadable = _unreadable(properties, table, routing_key)
    headers |= _raw(properties, unreadable)
    message = ReceivedMessage(
        exchange=_text(exchange),
        routing_key=_text(routing_key),
        message_id=_text(properties.message_id),
        org=org if isinstance(org, str) and org in known_orgs else DEFAULT_ORG,
        correlation_id=_short_text(properties.correlation_id) or str(uuid4()),
        body=delivered.body,
        traceparent=traceparent if 0 < len(traceparent) <= _MAX_TRACEPARENT else None,
        # Garbled, it names nobody's queue.
        reply_to=None if "reply_to" in unreadable else _short_text(properties.reply_to) or None,
        timestamp=properties.timestamp if isinstance(properties.timestamp, datetime) else None,
        headers=headers,
    )
    count = table.get("x-delivery-count")
    return Arrival(
        message,
        delivered.delivery_tag or 0,
        deliveries=1 + (count if isinstance(count, int) else 0),
        unreadable=unreadable,
        dropped=dropped,
        died_of=None if death is None else _text(death.get("reason")) or "dead_lettered",
    )


def is_brokers_own(header: str) -> bool:
    """Whether a header is the broker's, not the sender's."""
    name = header.lower()
    return name in _BROKERS or name.startswith(_BROKERS_PREFIXES)


def _death(table: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Where the broker dead-lettered it from one of our queues, if it did."""
    deaths = table.get("x-death")
    for death in deaths if isinstance(deaths, list) else ():
        if isinstance(death, dict) and ".intake" in _text(death.get("queue")):
            return death
    return None


def _unreadable(
    properties: commands.Basic.Properties, table: Mapping[str, Any], routing_key: object
) -> tuple[str, ...]:
    names = [name for name in _TEXTS if isinstance(getattr(properties, name), bytes)]
    if isinstance(properties.timestamp, int):
        names.append("timestamp")
    if UNREADABLE in table or any(_has_nul(name) or _has_nul(table[name]) for name in table):
        names.append("headers")
    if isinstance(routing_key, bytes):
        names.append("routing_key")
    return tuple(names)


_TEXTS: Final = (
    "content_type",
    "content_encoding",
    "correlation_id",
    "reply_to",
    "expiration",
    "message_id",
    "message_type",
    "user_id",
    "app_id",
)


def _has_nul(value: object) -> bool:
    """PostgreSQL stores no NUL, neither in text nor in jsonb."""
    match value:
        case str():
            return "\0" in value
        case dict():
            return any(_has_nul(name) or _has_nul(value[name]) for name in value)
        case list():
            return any(map(_has_nul, value))
        case _:
            return False


def _raw(properties: commands.Basic.Properties, unreadable: tuple[str, ...]) -> dict[str, object]:
    """What could not be decoded, as it came, beside the sender's headers."""
    raw: dict[str, object] = {}
    for name in unreadable:
        value = getattr(properties, name, None)
        if isinstance(value, bytes):
            raw[f"x-raw-{name}"] = base64.b64encode(value).decode()
        elif isinstance(value, int):
            raw[f"x-raw-{name}"] = value
    return raw


def _kept(table: Mapping[str, Any]) -> tuple[dict[str, object], int]:
    """The sender's headers as JSON can hold them, within the bound, and how many were dropped."""
    kept: dict[str, object] = {}
    size = dropped = 0
    for name in sorted(table, key=lambda name: name not in _OURS):
        if is_brokers_own(name):
            continue
        plain = _plain(table[name])
        taken = len(name) + len(str(plain))
        if size + taken <= MAX_HEADERS_BYTES:
            size += taken
            kept[_text(name)] = plain
            continue
        dropped += 1
        if name in _OURS:  # that it was there decides, and no value of this size is right
            kept[name] = None
    return kept, dropped


def _plain(value: object) -> object:
    match value:
        case bool() | int() | float() | None:
            return value
        case str() | bytes() | bytearray():
            return _text(value)
        case datetime():
            return value.isoformat()
        case dict():
            return {_text(name): _plain(item) for name, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case _:
            return str(value)


def _text(value: object) -> str:
    """What is no UTF-8 comes as bytes, and NUL is nothing that PostgreSQL stores."""
    if isinstance(value, bytes | bytearray):
        value = bytes(value).decode("utf-8", "replace")
    return value.replace("\0", NOT_TEXT) if isinstance(value, str) else ""


def _short_text(value: object) -> str:
    """Text that fits a property again. What stands for a byte that is no text is longer than it."""
    return _text(value).encode()[:_MAX_SHORT_BYTES].decode(errors="ignore")
