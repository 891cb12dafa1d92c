"""Read a ticket and announce its changes since the last read, each change once.

A webhook or a search only names a ticket. The state comes from a read of the ticket. A closing that
no read saw (closed and reopened in between) comes from its history.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from services.desk_worker.repositories.escalations import Escalation, Escalations
from services.desk_worker.watching.changes import (
    StatusType,
    TicketChange,
    TicketState,
    changes_between,
    distinct_closings,
    is_ambiguous,
)
from services.desk_worker.watching.ticket_events import announce
from shared.errors import ZohoRejected
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.zoho.products.desk.client import ZohoDesk
from shared.zoho.products.desk.models import Ticket


class TicketWatcher:
    """Compares tickets as read with their last known state."""

    def __init__(self, escalations: Escalations, desk: ZohoDesk) -> None:
        self._escalations = escalations
        self._desk = desk

    async def check(
        self,
        work: UnitOfWork,
        escalation: Escalation,
        *,
        hinted_closing: datetime | None = None,
        look_back: bool = False,
    ) -> list[TicketChange]:
        """Read the ticket and announce what is new.

        `hinted_closing`: a closing that a webhook named. `look_back`: there was a change that
        nobody reported, so the history is read for it (3 credits).
        """
        ticket = await self.read(escalation.zoho_id)
        return await self.announce_changes(
            work, escalation, ticket, hinted_closing=hinted_closing, look_back=look_back
        )

    async def is_announced(self, escalation: Escalation, closing: datetime) -> bool:
        """Whether this closing was announced under exactly its time."""
        return closing in await self._escalations.announced_closings(escalation)

    async def announce_changes(
        self,
        work: UnitOfWork,
        escalation: Escalation,
        ticket: Ticket | None,
        *,
        hinted_closing: datetime | None = None,
        look_back: bool = False,
    ) -> list[TicketChange]:
        """Record the ticket as read, and announce what differs.

        `ticket` is None when it was merged into another one.
        """
        after = self.state(ticket, escalation.state)
        announced = await self._escalations.announced_closings(escalation)
        last = ticket.closed_time if ticket and ticket.is_closed else None
        is_hinted = hinted_closing not in (None, last, *announced)
        history: list[datetime] = []
        if ticket and (is_hinted or look_back or (last and is_ambiguous(last, announced))):
            history = await self._closings_in_history(escalation)
        closings = distinct_closings(last, history)
        changes = changes_between(
            escalation.state,
            after,
            closings=closings,
            announced=announced,
            seen_at=datetime.now(UTC),
        )
        if after == escalation.state and not changes:
            return []
        self._escalations.advance(work, escalation, after)
        for change in changes:
            if change.kind == "closed":
                self._escalations.record_announced(work, escalation, change)
        announce(work, escalation, after, changes, ticket.resolution if ticket else None)
        return changes

    async def read(self, zoho_id: str) -> Ticket | None:
        """Return the ticket, also when it is in Desk's trash. None when it was merged away."""
        try:
            return await self._desk.ticket(zoho_id)
        except ZohoRejected as error:
            if error.status != 404:
                raise
            return None

    def state(self, ticket: Ticket | None, before: TicketState | None = None) -> TicketState:
        """Return the state to store of a ticket as read. One that is gone keeps its last state."""
        if ticket is None:
            last = before or TicketState("Closed", "closed")
            return replace(last, modified_at=None, gone=True)
        return TicketState(
            status=ticket.status,
            status_type=_status_type(ticket),
            priority=ticket.priority,
            department=self._escalations.department(ticket.department_id),
            modified_at=ticket.modified_time,
            customer_replied_at=ticket.customer_response_time,
            gone=bool(ticket.is_trashed or ticket.is_spam),
        )

    async def _closings_in_history(self, escalation: Escalation) -> list[datetime]:
        """Return the closings in the history.

        Of an adopted ticket, return only those since we have watched it.
        """
        statuses = await self._escalations.closed_statuses(escalation.org)
        since = escalation.watched_since if escalation.origin == "zoho" else None
        closings = []
        for entry in await self._desk.status_history(escalation.zoho_id):
            change = entry.change_of("status")
            if change and entry.time and (change[1] or "").casefold() in statuses:
                closings.append(entry.time)
        return [closing for closing in closings if since is None or closing >= since]


def _status_type(ticket: Ticket) -> StatusType:
    match ticket.kind:
        case "closed":
            return "closed"
        case "onhold":
            return "onhold"
        case _:
            return "open"
