"""One message as it was received, freed of the client library."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

MAX_MESSAGE_ID: Final = 128

NOT_TEXT: Final = "\N{REPLACEMENT CHARACTER}"
"""Stands for what was no text in a property."""


NO_HEADERS: Final[Mapping[str, Any]] = {}


class ReceivedMessage(NamedTuple):
    """What a handler may know of the message that started it.

    `body` is as received: sealed when the header `x-sealed` is 1. `message_id` is empty when the
    sender gave none (such a message reaches no handler).
    """

    exchange: str
    routing_key: str
    message_id: str
    org: str
    correlation_id: str
    body: bytes
    traceparent: str | None = None
    reply_to: str | None = None
    timestamp: datetime | None = None
    headers: Mapping[str, Any] = NO_HEADERS

    @property
    def is_identified(self) -> bool:
        """Whether it has a usable idempotency key."""
        return (
            0 < len(self.message_id) <= MAX_MESSAGE_ID
            and NOT_TEXT not in self.message_id
            and NOT_TEXT not in self.routing_key
        )
