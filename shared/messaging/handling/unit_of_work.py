"""What one attempt at a message wants written: changes, events, replies. Committed as one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final
from uuid import UUID, uuid4

import orjson
from pamqp.common import FieldTable

from shared.contracts.events import Event
from shared.contracts.replies import MAX_REPLY_BYTES
from shared.messaging.inbox.inbox import IdempotencyKey
from shared.messaging.messages.delivery import Delivery
from shared.messaging.messages.outgoing_message import OutgoingMessage

REPLY_EXPIRES_MS: Final = 600_000


@dataclass(frozen=True, slots=True)
class Change:
    """One statement with its arguments. Statements with the same text are run as one batch."""

    sql: str
    args: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class EventToPublish:
    event: Event
    subject: str
    event_id: UUID


class BodyEncoding(Enum):
    """How a body travels. In the outbox it is sealed always."""

    OPEN = "open"
    SEALED = "sealed"
    SEALED_ALREADY = "sealed_already"


@dataclass(frozen=True, slots=True)
class PendingMessage:
    """A letter whose body is open, except with SEALED_ALREADY. The same `id` is sent once."""

    letter: OutgoingMessage
    wire: BodyEncoding
    id: UUID = field(default_factory=uuid4)


@dataclass(frozen=True, slots=True)
class InboxUpdate:
    """The inbox row that the commit settles, as `done` or `given_up`.

    `claim` is the number on which everything is conditional; None for a message that was given up
    before it was claimed: its row is made then, from `source` and `mac`, if there is none.
    """

    key: IdempotencyKey
    claim: int | None
    code: str | None = None
    source: str = ""
    mac: bytes = b""
    given_up: bool = False


class UnitOfWork:
    """Collects; does nothing by itself. Committed by the middleware or by `Committer.begin`.

    `arrived` rises with the order in which commands were first seen and never changes for a
    message, however often it comes back: an older change has a smaller one. 0 without a delivery.
    `attempt` is 1 at the first.
    """

    def __init__(
        self,
        *,
        org: str,
        delivery: Delivery | None = None,
        arrived: int = 0,
        attempt: int = 1,
        settling: InboxUpdate | None = None,
        correlation_id: str | None = None,
    ) -> None:
        self.org = org
        self.delivery = delivery
        self.arrived = arrived
        self.attempt = attempt
        self.settling = settling
        self.correlation_id = delivery.correlation_id if delivery else correlation_id
        self.traceparent = delivery.traceparent if delivery else None
        self.changes: list[Change] = []
        self.events: list[EventToPublish] = []
        self.letters: list[PendingMessage] = []

    def record(self, sql: str, *args: Any) -> None:
        """Run this statement at the commit, in the order recorded.

        Statements of several messages with the same text run together (executemany): write the
        text as a constant and put what differs into `args`. What it returns is not seen.
        """
        self.changes.append(Change(sql, args))

    def publish(
        self, event: Event, *, subject: str | None = None, event_id: UUID | None = None
    ) -> None:
        """Announce it on `zoho.events` once the commit is durable.

        `event_id` (a random one unless given; the same one is sent once), `version`, `org`,
        `subject` and, unless the event has its own, `occurred_at` are filled in at the commit.
        `subject` overrides the event's own.
        """
        self.events.append(EventToPublish(event, subject or event.subject(), event_id or uuid4()))

    def reply(self, result: Mapping[str, Any]) -> None:
        """Answer the command: `{ok: true, result}` to its `reply_to`. Without one, nothing.

        An answer over 8 MiB becomes `{ok: false, code: "too_large"}`.
        """
        self.answer({"ok": True, "result": result})

    def answer(self, body: Mapping[str, Any]) -> None:
        """Send this body to the command's `reply_to`; it expires after ten minutes."""
        if self.delivery is None or not self.delivery.reply_to:
            return
        encoded = orjson.dumps(body)
        if len(encoded) > MAX_REPLY_BYTES:
            encoded = orjson.dumps(
                {"ok": False, "code": "too_large", "reason": "the answer is larger than 8 MiB"}
            )
        reply_id = uuid4()
        letter = OutgoingMessage(
            "",
            self.delivery.reply_to,
            str(reply_id),
            encoded,
            mandatory=False,
            correlation_id=self.correlation_id,
            timestamp=datetime.now(UTC),
            expires_ms=REPLY_EXPIRES_MS,
            headers=self.trace(),
        )
        self.letters.append(PendingMessage(letter, BodyEncoding.OPEN, reply_id))

    def send(
        self,
        exchange: str,
        routing_key: str,
        body: bytes,
        *,
        message_id: str,
        sealed: bool = True,
        mandatory: bool = True,
    ) -> None:
        """A message to another service of ours; sealed on the wire unless said otherwise.

        `mandatory`: it is kept and tried again until a queue takes it.
        """
        headers: FieldTable = {**self.trace(), "org": self.org}
        letter = OutgoingMessage(
            exchange,
            routing_key,
            message_id,
            body,
            mandatory=mandatory,
            correlation_id=self.correlation_id,
            timestamp=datetime.now(UTC),
            headers=headers,
        )
        wire = BodyEncoding.SEALED if sealed else BodyEncoding.OPEN
        self.letters.append(PendingMessage(letter, wire))

    def trace(self) -> FieldTable:
        """The headers that are carried on."""
        return {"traceparent": self.traceparent} if self.traceparent else {}
