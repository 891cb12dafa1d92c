"""What a log line must not hold, and how it is taken out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson

REDACTED = "[redacted]"

_PARTS = ("authorization", "token", "secret", "password", "email", "phone", "transcript", "payload")
_NAMES = frozenset(
    {
        *("name", "full_name", "first_name", "last_name", "display_name"),
        *("body", "content", "description", "title", "resolution", "data", "cookie", "url"),
        *("headers", "json", "params"),
    }
)
# Never taken apart: a W3C trace id may hold a long run of digits by chance.
_KEPT = frozenset({"traceparent", "trace_id", "time"})
_MASKS = re.compile(
    r"(?P<token>1000\.[0-9a-fA-F]{6,}\.[0-9a-fA-F]{6,})"
    r"|(?P<link>\b[a-z][a-z0-9+.-]*://\S+)"  # may carry a password or lead to Zoho
    r"|(?P<email>[^\s@<>\"']+@[^\s@<>\"']+\.[^\s@<>\"']+)"
    # A message's UUID in hexadecimal: one in 150 holds as long a run of digits. It stays.
    r"|(?P<uuid>(?<![0-9A-Za-z])(?=[0-9]*[a-f])[0-9a-f]{32}(?![0-9A-Za-z]))"
    r"|(?P<id>(?<!\d)\d{15,19}(?!\d))"  # how Zoho's ids look
)
_DIGITS = re.compile(r"\d{15}|1000\.")
_EVERY_DIGIT_0 = bytes(ord("0") if chr(byte).isdecimal() else byte for byte in range(128)) + bytes(
    range(128, 256)
)
_ZOHO_ID_FLOOR = 10**14
_PLAIN = frozenset({str, int, float, bool, type(None)})


def rendered(event: Mapping[str, Any]) -> bytes:
    """The event as JSON, with what a line must not hold taken out."""
    # Most lines hold nothing to take out, and one look over the whole line tells so.
    if _are_harmless(tuple(event)) and _PLAIN.issuperset(map(type, event.values())):
        try:
            line = orjson.dumps(event)
        except TypeError:  # a number too large for JSON here: taken out below
            pass
        else:
            if _is_harmless(line):
                return line
    return orjson.dumps(
        {key: redacted(key, value) for key, value in event.items()},
        default=lambda value: type(value).__name__,
    )


def _is_harmless(line: bytes) -> bool:
    return (
        b"@" not in line
        and b"//" not in line
        and b"1000." not in line
        and line.isascii()
        # Fifteen digits in a row; a regular expression takes ten times as long to look for them.
        and b"000000000000000" not in line.translate(_EVERY_DIGIT_0)
    )


@lru_cache(maxsize=1024)
def _are_harmless(keys: tuple[str, ...]) -> bool:
    return not any(map(_is_secret, keys))


def masked(text: str) -> str:
    """The text with tokens, links, email addresses and Zoho-like ids replaced by what they were."""
    if "@" not in text and "//" not in text and not _DIGITS.search(text):
        return text  # most lines: the full search costs ten times as much
    return _MASKS.sub(
        lambda found: found[0] if found.lastgroup == "uuid" else f"[{found.lastgroup}]", text
    )


@lru_cache(maxsize=1024)
def _is_secret(key: str) -> bool:
    lowered = key.lower()
    return lowered in _NAMES or any(part in lowered for part in _PARTS)


def redacted(key: str, value: Any) -> Any:
    """The value as it may be logged under `key`: whole, masked, or not at all."""
    if key in _KEPT or value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if abs(value) < _ZOHO_ID_FLOOR else REDACTED
    if _is_secret(key):
        return REDACTED
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, dict):
        return {masked(str(k)): redacted(str(k), v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redacted(key, item) for item in value]
    return REDACTED if isinstance(value, bytes | bytearray) else masked(str(value))
