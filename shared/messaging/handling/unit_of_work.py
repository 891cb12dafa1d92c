"""Collect what one attempt at a message wants written: changes, events, replies. One commit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid4, uuid5

import orjson
from pamqp.common import FieldTable

from shared.contracts.events import Event
from shared.contracts.replies import MAX_REPLY_BYTES
from shared.messaging.inbox.dead_letters import DeadLetter
from shared.messaging.inbox.lines import MessageOutcome
from shared.messaging.messages.outgoing_message import OutgoingMessage
from shared.messaging.messages.received_message import ReceivedMessage

REPLY_EXPIRES_MS: Final = 600_000
# Never changed: the ids of events that consumers have seen are derived from it.
_FACTS: Final = UUID("6f1c1d5e-5f0b-4a53-9a39-1f0f6f1b7c52")


class Change(NamedTuple):
    """One statement with its arguments. Statements with the same text are run as one batch."""

    sql: str
    args: tuple[Any, ...]


class EventToPublish(NamedTuple):
    event: Event
    subject: str
    event_id: UUID


class BodyEncoding(Enum):
    """How a body travels. In the outbox it is sealed always."""

    OPEN = "open"
    SEALED = "sealed"


@dataclass(frozen=True, slots=True)
class PendingMessage:
    """A message to send, whose body is open here. The same `id` is sent once."""

    message: OutgoingMessage
    encoding: BodyEncoding
    id: UUID = field(default_factory=uuid4)


class Claim(NamedTuple):
    """The lease of a message: what an attempt writes is conditional on it."""

    arrived: int
    number: int


class Fact(NamedTuple):
    """Something that a message may wait for, such as a user or an invoice."""

    kind: str
    key: str


class Name(NamedTuple):
    """A thing that was made at Zoho, and the user in whose line its messages are done."""

    kind: str
    name: str
    user_id: str


class UnitOfWork:
    """Collects. Does nothing by itself. Committed by the dispatcher or by `Committer.begin`.

    `arrived` rises with the order in which messages were accepted and never changes for a message,
    however often it comes back: an older change has a smaller one. 0 without a message.
    `attempt` is 1 at the first. `outcome`, `dead_letter`: what the commit makes of the message.
    """

    def __init__(
        self,
        *,
        org: str,
        received: ReceivedMessage | None = None,
        claim: Claim | None = None,
        attempt: int = 1,
        correlation_id: str | None = None,
        commit_early: Callable[[UnitOfWork], Awaitable[None]] | None = None,
    ) -> None:
        self.org = org
        self.received = received
        self.claim = claim
        self.attempt = attempt
        self.outcome = MessageOutcome.DONE
        self.dead_letter: DeadLetter | None = None
        self.correlation_id = received.correlation_id if received else correlation_id
        self.traceparent = received.traceparent if received else None
        self.changes: list[Change] = []
        self.events: list[EventToPublish] = []
        self.messages: list[PendingMessage] = []
        self.facts: list[Fact] = []
        self.names: list[Name] = []
        self._commit_early = commit_early

    @property
    def arrived(self) -> int:
        return self.claim.arrived if self.claim else 0

    async def commit_early(self) -> None:
        """Commit what is recorded so far, before Zoho is asked. The message stays open.

        Raises as the commit itself. What is recorded afterwards is committed at the end.
        """
        if self._commit_early is not None:
            await self._commit_early(self)

    def split(self) -> UnitOfWork:
        """Hand over what is recorded so far, conditional on the claim, and begin anew."""
        part = UnitOfWork(
            org=self.org,
            received=self.received,
            claim=self.claim,
            attempt=self.attempt,
            correlation_id=self.correlation_id,
        )
        for name in ("changes", "events", "messages", "facts", "names"):
            setattr(part, name, getattr(self, name))
            setattr(self, name, [])
        part.outcome = MessageOutcome.KEPT
        return part

    def record_fact(self, kind: str, key: str) -> None:
        """From the commit on this is so: the messages that wait for it are woken by it."""
        self.facts.append(Fact(kind, key))

    def record_name(self, kind: str, name: str, user_id: str) -> None:
        """From the commit on messages about this thing are done in the user's line."""
        self.names.append(Name(kind, name, user_id))

    def record(self, sql: str, *args: Any) -> None:
        """Run this statement at the commit, in the order recorded.

        Statements of several messages with the same text run together (executemany): write the
        text as a constant and put what differs into `args`. What it returns is not seen.
        """
        self.changes.append(Change(sql, args))

    def publish(
        self,
        event: Event,
        *,
        subject: str | None = None,
        event_id: UUID | None = None,
        once_for: str | None = None,
    ) -> None:
        """Announce it on `zoho.events` once the commit is durable.

        `event_id` (a random one unless given, and sent once), `version`, `org`,
        `subject` and, unless the event has its own, `occurred_at` are filled in at the commit.
        `subject` overrides the event's own. `once_for`: the id of the thing of which this event is
        published once. Its `event_id` is derived from it, so that a database that was restored
        announces it under the same one.
        """
        if once_for is not None:
            event_id = _id_of_fact(self.org, event.routing_key, once_for)
        self.events.append(EventToPublish(event, subject or event.subject(), event_id or uuid4()))

    def reply(self, result: Mapping[str, Any]) -> None:
        """Answer the command: `{ok: true, result}` to its `reply_to`. Without one, nothing.

        An answer over 8 MiB becomes `{ok: false, code: "too_large"}`.
        """
        self.answer({"ok": True, "result": result})

    def answer(self, body: Mapping[str, Any], *, reply_id: UUID | None = None) -> None:
        """Send this body to the command's `reply_to`. It expires after ten minutes.

        The same `reply_id` is sent once.
        """
        if self.received is None or not self.received.reply_to:
            return
        encoded = orjson.dumps(body)
        if len(encoded) > MAX_REPLY_BYTES:
            encoded = orjson.dumps(
                {"ok": False, "code": "too_large", "reason": "the answer is larger than 8 MiB"}
            )
        reply_id = reply_id or uuid4()
        message = OutgoingMessage(
            "",
            self.received.reply_to,
            str(reply_id),
            encoded,
            mandatory=False,
            correlation_id=self.correlation_id,
            timestamp=datetime.now(UTC),
            expires_ms=REPLY_EXPIRES_MS,
            headers=self.trace(),
        )
        self.messages.append(PendingMessage(message, BodyEncoding.OPEN, reply_id))

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
        """A message to another service of ours. Sealed on the wire unless said otherwise.

        `mandatory`: it is kept and tried again until a queue takes it.
        """
        headers: FieldTable = {**self.trace(), "org": self.org}
        message = OutgoingMessage(
            exchange,
            routing_key,
            message_id,
            body,
            mandatory=mandatory,
            correlation_id=self.correlation_id,
            timestamp=datetime.now(UTC),
            headers=headers,
        )
        encoding = BodyEncoding.SEALED if sealed else BodyEncoding.OPEN
        self.messages.append(PendingMessage(message, encoding))

    def trace(self) -> FieldTable:
        """The headers that are carried on."""
        return {"traceparent": self.traceparent} if self.traceparent else {}


def _id_of_fact(org: str, routing_key: str, thing: str) -> UUID:
    return uuid5(_FACTS, orjson.dumps([org, routing_key, thing]).decode())
