"""Watch tickets that known users opened by themselves, like those that we made.

They get an opaque id of ours, which is announced in `ticket.created.v1` with the origin `zoho`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from services.desk_worker.repositories.escalations import Escalation, Escalations
from services.desk_worker.repositories.users import Users
from services.desk_worker.tickets.tickets import Tickets
from services.desk_worker.watching.changes import TicketState
from services.desk_worker.watching.ticket_events import announce_created
from services.desk_worker.watching.ticket_watcher import TicketWatcher
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.zoho.products.desk.models import Ticket


class Adoption:
    """Decides whose a ticket is, and begins to watch it."""

    def __init__(
        self, escalations: Escalations, users: Users, tickets: Tickets, watcher: TicketWatcher
    ) -> None:
        self._escalations = escalations
        self._users = users
        self._tickets = tickets
        self._watcher = watcher

    async def adopt(self, work: UnitOfWork, ticket_id: str, email: str | None) -> bool:
        """Watch the ticket when it is a known user's. False when it is nobody's we know.

        `email` comes from a webhook or a list, and only avoids needless reads. The email of the
        ticket as read decides.
        """
        if email is None or await self._users.with_email(work.org, email) is None:
            return False
        ticket = await self._watcher.read(ticket_id)
        if ticket is None or ticket.is_trashed or ticket.is_spam or self._tickets.is_ours(ticket):
            return False
        own_email = email_of(ticket)
        user_id = own_email and await self._users.with_email(work.org, own_email)
        if not own_email or not user_id:
            return False
        escalation = Escalation(
            org=work.org,
            escalation_id=self._escalations.id_of(work.org, ticket_id),
            user_id=user_id,
            origin="zoho",
            email=own_email,
            subject=ticket.subject,
            zoho_id=ticket_id,
            state=_as_opened(self._watcher.state(ticket)),
        )
        await self._escalations.add(work, escalation)
        announce_created(work, escalation, notify=False)
        await self._watcher.announce_changes(work, escalation, ticket)
        return True


def email_of(ticket: Ticket) -> str | None:
    """Return the ticket's email, or its contact's: Desk often leaves the ticket's own empty."""
    return ticket.email or (ticket.contact.email if ticket.contact else None)


def email_in(resource: Mapping[str, Any]) -> str | None:
    """Return the same from a webhook's payload."""
    contact = resource.get("contact")
    of_contact = contact.get("email") if isinstance(contact, Mapping) else None
    email = resource.get("email") or of_contact
    return email if isinstance(email, str) else None


def _as_opened(state: TicketState) -> TicketState:
    """Return the state as opened. Of a ticket first seen closed, its closing is announced then."""
    if state.status_type != "closed":
        return state
    return replace(state, status="Open", status_type="open")
