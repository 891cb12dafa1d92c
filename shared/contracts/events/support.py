"""Define the events of tickets, under the ids of the escalations that opened them."""

from __future__ import annotations

from typing import ClassVar, Literal

from shared.contracts.events.event import Event, Origin
from shared.contracts.fields import Id, Instant, Word
from shared.contracts.outgoing import PeoplesText


class _TicketEvent(Event):
    """`escalation_id` is the application's, or an opaque one of ours for a ticket of Zoho's."""

    carries_state: ClassVar[bool] = True

    escalation_id: Id
    user_id: Id | None = None
    status: Word
    priority: Word | None = None
    origin: Origin = "application"

    def subject(self) -> str:
        return f"ticket:{self.escalation_id}"


class TicketCreated(_TicketEvent):
    """A ticket was created. `ticket.created.v1`."""

    routing_key: ClassVar[str] = "ticket.created.v1"


class TicketChanged(_TicketEvent):
    """The ticket changed. `status` is the department's own word. `ticket.changed.v1`."""

    routing_key: ClassVar[str] = "ticket.changed.v1"

    # `comment` and `reply` are of staff, `customer_reply` is of the user.
    change: Literal[
        "status",
        "priority",
        "comment",
        "reply",
        "customer_reply",
        "reopened",
        "moved",
        "deleted",
    ]
    status_type: Literal["open", "on_hold", "closed"] | None = None


class TicketResolved(_TicketEvent):
    """The ticket was closed. `resolution` is plain text. `ticket.resolved.v1`."""

    routing_key: ClassVar[str] = "ticket.resolved.v1"

    resolution: PeoplesText | None = None
    resolved_at: Instant | None = None
