"""What one attempt at a message wants written: changes, events, replies. Committed as one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from shared.messaging.delivery import Delivery


class Event(Protocol):
    """An event model of shared.contracts.events."""

    routing_key: ClassVar[str]

    def subject(self) -> str: ...

    def model_dump(self, *, mode: str, exclude_none: bool) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Change:
    """One statement with its arguments. Statements with the same text are run as one batch."""

    sql: str
    args: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class EventToPublish:
    event: Event
    subject: str
    event_id: str | None


@dataclass(frozen=True, slots=True)
class MessageToSend:
    exchange: str
    routing_key: str
    body: bytes
    message_id: str
    sealed: bool
    mandatory: bool


class UnitOfWork:
    """Collects; does nothing by itself. Committed by the middleware or by `Committer.begin`.

    `arrived` rises with the order in which commands were first seen and never changes for a
    message, however often it comes back: an older change has a smaller one. 0 without a delivery.
    `attempt` is 1 at the first. `claim` is the number on which every write is conditional.
    """

    __slots__ = (
        "arrived", "attempt", "changes", "claim", "correlation_id", "delivery", "events",
        "first_seen_s", "org", "replies", "sends", "traceparent",
    )  # fmt: skip

    def __init__(
        self,
        *,
        org: str,
        delivery: Delivery | None = None,
        arrived: int = 0,
        attempt: int = 1,
        claim: int | None = None,
        first_seen_s: float = 0.0,
        correlation_id: str | None = None,
        traceparent: str | None = None,
    ) -> None:
        self.org = org
        self.delivery = delivery
        self.arrived = arrived
        self.attempt = attempt
        self.claim = claim
        self.first_seen_s = first_seen_s
        self.correlation_id = correlation_id or (delivery.correlation_id if delivery else None)
        self.traceparent = traceparent or (delivery.traceparent if delivery else None)
        self.changes: list[Change] = []
        self.events: list[EventToPublish] = []
        self.replies: list[dict[str, Any]] = []
        self.sends: list[MessageToSend] = []

    def record(self, sql: str, *args: Any) -> None:
        """Run this statement at the commit, in the order recorded.

        Statements of several messages with the same text run together (executemany): write the
        text as a constant and put what differs into `args`. It must not return rows that matter.
        """
        self.changes.append(Change(sql, args))

    def publish(
        self, event: Event, *, subject: str | None = None, event_id: str | None = None
    ) -> None:
        """Announce it on `zoho.events` once the commit is durable.

        `event_id` (a random one unless given), `version`, `org` and, unless the event has its own,
        `occurred_at` are filled in at the commit. `subject` overrides the event's own.
        """
        self.events.append(EventToPublish(event, subject or event.subject(), event_id))

    def reply(self, result: dict[str, Any]) -> None:
        """Answer the command: `{ok: true, result}` to its `reply_to`. Without one, nothing."""
        self.replies.append(result)

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
        self.sends.append(MessageToSend(exchange, routing_key, body, message_id, sealed, mandatory))
