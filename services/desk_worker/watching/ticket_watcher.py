"""Read a ticket and announce what has happened to it since the last time, each change once.

A webhook or a search only says where to look. The state comes from a read of the ticket. A closing
that no read saw (closed and reopened in between) comes from its history.
"""

from __future__ import annotations

from datetime import UTC, datetime

from services.desk_worker.repositories.escalations import Escalation, Escalations
from services.desk_worker.watching.changes import (
    StatusType,
    TicketChange,
    TicketState,
    happenings,
    untold_closings,
)
from services.desk_worker.watching.ticket_events import announce
from shared.errors import ZohoRejected
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.zoho.products.desk.client import ZohoDesk
from shared.zoho.products.desk.models import Ticket


class TicketWatcher:
    def __init__(self, escalations: Escalations, desk: ZohoDesk) -> None:
        self._escalations = escalations
        self._desk = desk

    async def look(
        self,
        work: UnitOfWork,
        escalation: Escalation,
        *,
        hinted_closing: datetime | None = None,
        look_back: bool = False,
    ) -> list[TicketChange]:
        """Read the ticket and announce what is new.

        `hinted_closing`: a closing that Desk spoke of. `look_back`: something happened that nobody
        told of, so the history is asked what it was (3 credits).
        """
        ticket = await self.read(escalation.zoho_id)
        return await self.tell(
            work, escalation, ticket, hinted_closing=hinted_closing, look_back=look_back
        )

    async def is_told(self, escalation: Escalation, closing: datetime) -> bool:
        """Whether the user knows of this closing."""
        return not untold_closings([closing], await self._escalations.closings_told(escalation))

    async def tell(
        self,
        work: UnitOfWork,
        escalation: Escalation,
        ticket: Ticket | None,
        *,
        hinted_closing: datetime | None = None,
        look_back: bool = False,
    ) -> list[TicketChange]:
        """Record the ticket as read, and announce what differs. None: it is not there any more."""
        after = self.state(ticket, escalation.state)
        told = await self._escalations.closings_told(escalation)
        closings = (
            [ticket.closed_time] if ticket and ticket.is_closed and ticket.closed_time else []
        )
        hinted = untold_closings([hinted_closing] if hinted_closing else [], [*told, *closings])
        if ticket and (hinted or look_back):
            closings += await self._closings_in_history(escalation)
        found = happenings(
            escalation.state, after, closings=closings, told=told, seen_at=datetime.now(UTC)
        )
        if after == escalation.state and not found:
            return []
        self._escalations.advance(work, escalation, after)
        for happening in found:
            if happening.what == "closed":
                self._escalations.told(work, escalation, happening)
        announce(work, escalation, after, found, ticket.resolution if ticket else None)
        return found

    async def read(self, zoho_id: str) -> Ticket | None:
        """The ticket. None when it was merged away. One in the trash can still be read."""
        try:
            return await self._desk.ticket(zoho_id)
        except ZohoRejected as error:
            if error.status != 404:
                raise
            return None

    def state(self, ticket: Ticket | None, before: TicketState | None = None) -> TicketState:
        """Return what is kept of a ticket as read. Of one that is gone, its last state."""
        if ticket is None:
            last = before or TicketState("Closed", "closed")
            return TicketState(last.status, last.kind, last.priority, last.department, gone=True)
        return TicketState(
            status=ticket.status,
            kind=_kind(ticket),
            priority=ticket.priority,
            department=self._escalations.department(ticket.department_id),
            modified_at=ticket.modified_time,
            gone=bool(ticket.is_trashed or ticket.is_spam),
        )

    async def _closings_in_history(self, escalation: Escalation) -> list[datetime]:
        """Since we watch the ticket: one that we did not make has a past that is nobody's news."""
        words = await self._escalations.words_for_closed(escalation.org)
        since = escalation.watched_since if escalation.origin == "zoho" else None
        closings = []
        for entry in await self._desk.status_history(escalation.zoho_id):
            change = entry.change_of("status")
            if change and entry.time and (change[1] or "").casefold() in words:
                closings.append(entry.time)
        return [closing for closing in closings if since is None or closing >= since]


def _kind(ticket: Ticket) -> StatusType:
    match ticket.kind:
        case "closed":
            return "closed"
        case "onhold":
            return "onhold"
        case _:
            return "open"
