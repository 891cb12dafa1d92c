"""One message as it was received, freed of the client library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

MAX_MESSAGE_ID: Final = 128

NOT_TEXT: Final = "\N{REPLACEMENT CHARACTER}"
"""Stands for what was no text in a property."""


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
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
    headers: Mapping[str, object] = field(default_factory=dict)

    @property
    def is_identified(self) -> bool:
        """Whether it has a usable idempotency key."""
        return (
            0 < len(self.message_id) <= MAX_MESSAGE_ID
            and NOT_TEXT not in self.message_id
            and NOT_TEXT not in self.routing_key
        )
