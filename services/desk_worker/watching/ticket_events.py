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
NEUTRAL = "Your request has been resolved."
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
            status=_word(escalation.state.status),
            priority=_maybe(escalation.state.priority),
            origin=escalation.origin,
        )
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
    found: Sequence[TicketChange],
    resolution: str | None,
) -> None:
    """Tell each happening once. `resolution` is HTML, and may be absent."""
    text = plain_text(resolution) or NEUTRAL
    for happening in found:
        if happening.what == "closed":
            _announce_closed(work, escalation, after, happening, text)
        else:
            _announce_change(work, escalation, after, happening)


def announce_said(
    work: UnitOfWork, escalation: Escalation, happening: TicketChange, content: str | None
) -> None:
    """Somebody of staff wrote to the user: `content` as HTML, or None where Desk mailed it."""
    _announce_change(work, escalation, escalation.state, happening, plain_text(content))


def _announce_closed(
    work: UnitOfWork, escalation: Escalation, after: TicketState, closed: TicketChange, text: str
) -> None:
    event = TicketResolved(
        escalation_id=escalation.escalation_id,
        user_id=escalation.user_id,
        status=_word(after.status),
        priority=_maybe(after.priority),
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
    happening: TicketChange,
    content: str | None = None,
) -> None:
    assert happening.what != "closed"  # noqa: S101 - for the type checker
    event = TicketChanged(
        escalation_id=escalation.escalation_id,
        user_id=escalation.user_id,
        status=_word(after.status),
        priority=_maybe(after.priority),
        origin=escalation.origin,
        occurred_at=happening.at,
        change=happening.what,
        status_type=_TYPES[after.kind],
    )
    work.publish(event, event_id=_event_id(escalation, happening, event))
    if happening.what in ("status", "reopened", "comment", "reply"):
        notice = TicketUpdatedNotice(
            escalation_id=escalation.escalation_id,
            subject=escalation.subject,
            status=_word(after.status),
            content=content,
        )
        _notify(work, escalation, notice, happening)


def _notify(
    work: UnitOfWork,
    escalation: Escalation,
    notice: TicketCreatedNotice | TicketUpdatedNotice | TicketResolvedNotice,
    happening: TicketChange | None = None,
) -> None:
    event = NotificationRequested.of(notice, email=escalation.email, user_id=escalation.user_id)
    event_id = _event_id(escalation, happening, event) if happening else None
    work.publish(event, event_id=event_id)


def _event_id(escalation: Escalation, happening: TicketChange, event: Event) -> UUID:
    """The same for every replica that announces it: a second one is not even sent."""
    name = (
        f"{event.routing_key}:{escalation.org}:{escalation.escalation_id}"
        f":{happening.what}:{happening.at.isoformat()}"
    )
    return uuid5(NAMESPACE_URL, name)


def _word(text: str) -> str:
    """One line of at most 100 characters: an organization may call its statuses anything."""
    return " ".join(text.split())[:100] or "-"


def _maybe(text: str | None) -> str | None:
    return None if text is None else _word(text)
