"""One message on its way out."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple

from pamqp import commands
from pamqp.common import FieldTable

SEALED = "x-sealed"

_NO_HEADERS: Final[FieldTable] = {}


class OutgoingMessage(NamedTuple):
    """What is published: persistent JSON. `mandatory`: it fails when no queue takes it."""

    exchange: str
    routing_key: str
    message_id: str
    body: bytes
    mandatory: bool = True
    correlation_id: str | None = None
    reply_to: str | None = None
    expires_ms: int | None = None
    timestamp: datetime | None = None
    headers: FieldTable = _NO_HEADERS

    def properties(self) -> commands.Basic.Properties:
        return commands.Basic.Properties(
            content_type="application/json",
            delivery_mode=2,
            message_id=self.message_id or None,
            correlation_id=self.correlation_id,
            reply_to=self.reply_to,
            expiration=None if self.expires_ms is None else str(self.expires_ms),
            timestamp=self.timestamp,
            headers=self.headers or None,
        )


def sealing_context(message_id: str) -> str:
    """What a sealed body is bound to."""
    return f"message:{message_id}"
