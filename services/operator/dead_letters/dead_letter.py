"""One message that was given up, as its queue holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self, cast

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractIncomingMessage

from shared.messaging.broker.topology import UNROUTED_QUEUE
from shared.messaging.consuming.delayed_retry import carried_on
from shared.messaging.handling.routes import COMMANDS
from shared.messaging.messages.outgoing_message import (
    ATTEMPTS,
    CODE,
    FIRST_EXCHANGE,
    FIRST_ROUTING_KEY,
    GIVEN_UP_AT,
    REASON,
    REPLAY,
    SEALED,
)

_ABOUT_THE_END = (REASON, CODE, ATTEMPTS, GIVEN_UP_AT)


@dataclass(frozen=True)
class DeadLetterMessage:
    """`queue` is the work queue it was given up in. `code` and `reason` say why.

    What the broker itself dead-lettered (a delivery limit) has the broker's word as its code, its
    body as it was sent, and no attempts.
    """

    queue: str
    message_id: str
    exchange: str
    routing_key: str
    org: str
    code: str
    reason: str
    attempts: int
    sent_at: datetime | None
    given_up_at: datetime | None
    correlation_id: str | None
    reply_to: str | None
    body: bytes
    headers: Mapping[str, Any]

    @classmethod
    def of(cls, message: AbstractIncomingMessage, queue: str) -> Self:
        headers = message.headers
        death = _death(headers)
        return cls(
            queue=queue,
            message_id=message.message_id or "",
            exchange=str(headers.get(FIRST_EXCHANGE, death.get("exchange", ""))),
            routing_key=str(headers.get(FIRST_ROUTING_KEY, _first_key(death))),
            org=str(headers.get("org", "default")),
            code=str(headers.get(CODE, death.get("reason", "unknown"))),
            reason=str(headers.get(REASON, "dead-lettered by RabbitMQ")),
            attempts=int(cast("int", headers.get(ATTEMPTS, 0))),
            sent_at=message.timestamp,
            given_up_at=_moment(headers.get(GIVEN_UP_AT)),
            correlation_id=message.correlation_id,
            reply_to=message.reply_to,
            body=message.body,
            headers=headers,
        )

    @property
    def is_sealed(self) -> bool:
        return self.headers.get(SEALED) == 1

    @property
    def destination(self) -> tuple[str, str]:
        """Exchange and routing key of a replay.

        Its work queue, and nobody else: by its first exchange the other services, or the
        applications that listen there, would get it too, sealed as it is. Only what no queue took
        goes by its first exchange, since by now one may.
        """
        if self.queue == UNROUTED_QUEUE:
            return self.exchange or COMMANDS, self.routing_key
        return "", self.queue

    def again(self, replay_id: str) -> Message:
        """The message as it is sent once more. `replay_id` opens what was given up, once."""
        first = {FIRST_EXCHANGE: self.exchange, FIRST_ROUTING_KEY: self.routing_key}
        kept = {name: value for name, value in self.headers.items() if name not in _ABOUT_THE_END}
        return Message(
            self.body,
            message_id=self.message_id or None,
            correlation_id=self.correlation_id,
            reply_to=self.reply_to,
            timestamp=self.sent_at,
            content_type="application/json",
            delivery_mode=DeliveryMode.PERSISTENT,
            headers=carried_on(kept, {**first, REPLAY: replay_id}),
        )


def _death(headers: Mapping[str, Any]) -> Mapping[str, Any]:
    """The broker's own note of how it came here, for what it dead-lettered by itself."""
    deaths = headers.get("x-death")
    return deaths[0] if isinstance(deaths, list) and deaths else {}


def _moment(header: object) -> datetime | None:
    return datetime.fromisoformat(header) if isinstance(header, str) else None


def _first_key(death: Mapping[str, Any]) -> str:
    keys = death.get("routing-keys")
    return str(keys[0]) if isinstance(keys, list) and keys else ""
