"""Take out of a log line what it must not hold: secrets, personal data, ids and links of Zoho."""

from __future__ import annotations

import json
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
# Never changed: a W3C trace id may hold a long run of digits by chance.
_KEPT_NAMES = frozenset({"traceparent", "trace_id", "time"})
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


def render(event: Mapping[str, Any]) -> bytes:
    """Return the event as JSON, without what a line must not hold."""
    # Most lines hold nothing to take out, and one search of the whole line shows it.
    if _are_harmless(tuple(event)) and _PLAIN.issuperset(map(type, event.values())):
        try:
            line = orjson.dumps(event)
        except TypeError:  # a number too large for orjson, which is taken out below
            pass
        else:
            if _is_harmless(line):
                return line
    safe = {key: redact(key, value) for key, value in event.items()}
    try:
        return orjson.dumps(safe, default=lambda value: type(value).__name__)
    except TypeError:  # text that is no Unicode: half of a surrogate pair
        return json.dumps(safe, default=lambda value: type(value).__name__).encode()


def _is_harmless(line: bytes) -> bool:
    return (
        b"@" not in line
        and b"//" not in line
        and b"1000." not in line
        and line.isascii()
        # Fifteen digits in a row. A regular expression takes ten times as long to find them.
        and b"000000000000000" not in line.translate(_EVERY_DIGIT_0)
    )


@lru_cache(maxsize=1024)
def _are_harmless(keys: tuple[str, ...]) -> bool:
    return not any(map(_is_secret, keys))


def mask(text: str) -> str:
    """Replace tokens, links, email addresses and ids like Zoho's by a word for what they were."""
    if "@" not in text and "//" not in text and not _DIGITS.search(text):
        return text  # most lines end here: the full search costs ten times as much
    return _MASKS.sub(
        lambda match: match[0] if match.lastgroup == "uuid" else f"[{match.lastgroup}]", text
    )


@lru_cache(maxsize=1024)
def _is_secret(key: str) -> bool:
    lowered = key.lower()
    return lowered in _NAMES or any(part in lowered for part in _PARTS)


def redact(key: str, value: Any) -> Any:
    """Return the value as it may be logged under `key`: whole, masked, or replaced."""
    if key in _KEPT_NAMES or value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if abs(value) < _ZOHO_ID_FLOOR else REDACTED
    if _is_secret(key):
        return REDACTED
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {mask(str(k)): redact(str(k), v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(key, item) for item in value]
    return REDACTED if isinstance(value, bytes | bytearray) else mask(str(value))
