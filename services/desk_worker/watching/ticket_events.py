"""Make the events and notifications of a ticket's changes, without Zoho's ids and links."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal
from uuid import NAMESPACE_URL, UUID, uuid5

from services.desk_worker.repositories.escalations import Escalation
from services.desk_worker.tickets.plain_text import plain_text
from services.desk_worker.watching.changes import StatusType, TicketChange, TicketState
from shared.contracts.events import (
    Event,
    NotificationRequested,
    TicketChanged,
    TicketCreated,
    TicketCreatedNotice,
    TicketResolved,
    TicketResolvedNotice,
    TicketUpdatedNotice,
)
from shared.messaging.handling.unit_of_work import UnitOfWork

# Agents often close with a reply and leave the resolution empty.
NEUTRAL_RESOLUTION = "Your request has been resolved."
_TYPES: dict[StatusType, Literal["open", "on_hold", "closed"]] = {
    "open": "open",
    "onhold": "on_hold",
    "closed": "closed",
}


def announce_created(work: UnitOfWork, escalation: Escalation, *, notify: bool = True) -> None:
    """Announce a ticket. Its user is notified when the application escalated it."""
    work.publish(
        TicketCreated(
            escalation_id=escalation.escalation_id,
            user_id=escalation.user_id,
            status=_one_line(escalation.state.status),
            priority=_optional_line(escalation.state.priority),
            origin=escalation.origin,
        ),
        once_for=escalation.escalation_id,
    )
    if notify:
        notice = TicketCreatedNotice(
            escalation_id=escalation.escalation_id, subject=escalation.subject
        )
        _notify(work, escalation, notice)


def announce(
    work: UnitOfWork,
    escalation: Escalation,
    after: TicketState,
    changes: Sequence[TicketChange],
    resolution: str | None,
) -> None:
    """Announce each change. `resolution` is HTML, and may be absent."""
    text = plain_text(resolution) or NEUTRAL_RESOLUTION
    for change in changes:
        if change.kind == "closed":
            _announce_closed(work, escalation, after, change, text)
        else:
            _announce_change(work, escalation, after, change)


def announce_message(
    work: UnitOfWork, escalation: Escalation, change: TicketChange, content: str | None
) -> None:
    """Announce that staff wrote to the user.

    `content` is HTML, or None where Desk mailed it.
    """
    _announce_change(work, escalation, escalation.state, change, plain_text(content))


def _announce_closed(
    work: UnitOfWork, escalation: Escalation, after: TicketState, closed: TicketChange, text: str
) -> None:
    event = TicketResolved(
        escalation_id=escalation.escalation_id,
        user_id=escalation.user_id,
        status=_one_line(after.status),
        priority=_optional_line(after.priority),
        origin=escalation.origin,
        occurred_at=closed.at,
        resolution=text,
        resolved_at=closed.at,
    )
    work.publish(event, event_id=_event_id(escalation, closed, event))
    notice = TicketResolvedNotice(
        escalation_id=escalation.escalation_id,
        subject=escalation.subject,
        resolution=text,
        resolved_at=closed.at,
    )
    _notify(work, escalation, notice, closed)


def _announce_change(
    work: UnitOfWork,
    escalation: Escalation,
    after: TicketState,
    change: TicketChange,
    content: str | None = None,
) -> None:
    assert change.kind != "closed"  # noqa: S101 - for the type checker
    event = TicketChanged(
        escalation_id=escalation.escalation_id,
        user_id=escalation.user_id,
        status=_one_line(after.status),
        priority=_optional_line(after.priority),
        origin=escalation.origin,
        occurred_at=change.at,
        change=change.kind,
        status_type=_TYPES[after.status_type],
    )
    work.publish(event, event_id=_event_id(escalation, change, event))
    if change.kind in ("status", "reopened", "comment", "reply"):
        notice = TicketUpdatedNotice(
            escalation_id=escalation.escalation_id,
            subject=escalation.subject,
            status=_one_line(after.status),
            content=content,
        )
        _notify(work, escalation, notice, change)


def _notify(
    work: UnitOfWork,
    escalation: Escalation,
    notice: TicketCreatedNotice | TicketUpdatedNotice | TicketResolvedNotice,
    change: TicketChange | None = None,
) -> None:
    event = NotificationRequested.of(notice, email=escalation.email, user_id=escalation.user_id)
    if change:
        work.publish(event, event_id=_event_id(escalation, change, event))
    else:
        work.publish(event, once_for=f"ticket_created:{escalation.escalation_id}")


def _event_id(escalation: Escalation, change: TicketChange, event: Event) -> UUID:
    """Return the same id for every replica, so that a second event is not sent."""
    name = (
        f"{event.routing_key}:{escalation.org}:{escalation.escalation_id}"
        f":{change.kind}:{change.at.isoformat()}"
    )
    return uuid5(NAMESPACE_URL, name)


def _one_line(text: str) -> str:
    """Return at most 100 characters on one line: organizations name their statuses freely."""
    return " ".join(text.split())[:100] or "-"


def _optional_line(text: str | None) -> str | None:
    return None if text is None else _one_line(text)
