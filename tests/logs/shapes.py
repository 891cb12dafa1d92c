"""Recognize by its look alone what must not be in a log line.

Exceptions, each with its reason. There is no other:

- A W3C trace id or span id may be a long run of digits by chance: what lies in a field named
  `traceparent` or `trace_id` is not taken for an id. The product's own redaction has the same rule.
- The digits behind a decimal point are a measurement (`"duration_s":0.012345678901234567`), and
  those beside a hexadecimal letter a part of a made-up name (`test_3f0…`, a UUID), not an id.
- When a process of RabbitMQ's crashes, its log shows the state of its random numbers:
  `max => 288230376151711743` and `[163419822885029098|196888601065583229]`.
- RabbitMQ's node is called `zoho_relay@localhost` (deploy/local/rabbitmq.py), and so are its files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple


class Match(NamedTuple):
    """A finding, and its first and last characters in the text."""

    kind: str
    start: int
    end: int


_SHAPES: Final = re.compile(
    r"(?P<token>\b1000\.[0-9a-zA-Z-]{6,}\.[0-9a-zA-Z]{6,})"
    r"|(?P<authorization>\b(?:Zoho-oauthtoken|Bearer|Basic)\s+[\w.~+/-]{6,})"
    r"|(?P<jwt>\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,})"
    r"|(?P<password>\b[a-z][a-z0-9+.-]*://[^\s/:@\"']*:[^\s/@\"']+@)"
    r"|(?P<private>-----BEGIN [A-Z ]*PRIVATE KEY)"
    r"|(?P<email>[^\s@<>\"'(),:;\\\[\]]{1,64}@[^\s@<>\"'(),:;\\\[\]]{1,255}\.[a-zA-Z]{2,})"
    r"|(?P<id>(?<![0-9a-f])(?<!\d\.)\d{15,20}(?![0-9a-f]))",
    re.IGNORECASE,
)
_KINDS: Final = {
    "token": "token",
    "authorization": "token",
    "jwt": "token",
    "password": "secret",
    "private": "secret",
    "email": "email",
    "id": "Zoho id",
}
# A line without any of these has none of the shapes. Most lines.
_HINTS: Final = re.compile(r"@|\d{15}|1000\.|eyJ|-----|[Bb]earer\s|[Bb]asic\s|oauthtoken")
_NODE: Final = "zoho_relay@localhost"
_NO_IDS: Final = re.compile(
    r"\"?(?:traceparent|trace_id)\"?[=:]\s*\"?[0-9a-f-]+"
    r"|max => 288230376151711743,|\[\d{8,18}\|\d{8,18}\]"
)


def shapes_in(line: str) -> Iterator[Match]:
    """Everything in one line that looks like what must not be there."""
    if not _HINTS.search(line):
        return
    no_ids = [found.span() for found in _NO_IDS.finditer(line)]
    for found in _SHAPES.finditer(line):
        kind = _KINDS[found.lastgroup or ""]
        inside = any(start <= found.start() and found.end() <= end for start, end in no_ids)
        if kind == "Zoho id" and inside:
            continue
        if kind == "email" and _NODE in found[0]:
            continue
        yield Match(kind, *found.span())
