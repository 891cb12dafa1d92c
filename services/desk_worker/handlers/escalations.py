"""Open a ticket for an escalation, and apply later commands of the application to it."""

from __future__ import annotations

from services.desk_worker.repositories.escalations import Escalation, Escalations
from services.desk_worker.tickets.texts import as_html, comment_parts
from services.desk_worker.tickets.tickets import Tickets
from services.desk_worker.watching.ticket_events import announce_created
from services.desk_worker.watching.ticket_watcher import TicketWatcher
from shared.contracts.commands import (
    SupportCloseRequested,
    SupportEscalated,
    SupportMessageAdded,
    SupportPriorityRaised,
)
from shared.errors import NotYetKnown, PermanentError
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.zoho.products.desk.client import ZohoDesk
from shared.zoho.products.desk.models import Ticket


async def open_ticket(
    message: SupportEscalated,
    work: UnitOfWork,
    *,
    escalations: Escalations,
    tickets: Tickets,
    watcher: TicketWatcher,
) -> None:
    known = await escalations.find(work.org, message.escalation_id)
    if known is not None:
        if not escalations.is_same_request(known, message):
            raise PermanentError("this id names another escalation", code="id_taken")
        return
    if message.user_id is not None:
        # Before the ticket: where its answer is lost, an erasure finds its requester by it.
        await escalations.know_email(work.org, message.user_id, message.email)
    ticket, texts = await tickets.open(work.org, message)
    escalation = Escalation(
        org=work.org,
        escalation_id=message.escalation_id,
        user_id=message.user_id,
        origin="application",
        email=message.email,
        subject=message.subject,
        zoho_id=ticket.id,
        request_mac=escalations.request_mac(message),
        state=watcher.state(ticket),
    )
    for number, part in enumerate(texts.more, start=1):
        ref = f"{message.escalation_id}/part-{number}"
        await tickets.comment(escalation, ref, part, is_public=False)
    await escalations.add(work, escalation)
    announce_created(work, escalation)


async def add_message(
    message: SupportMessageAdded, work: UnitOfWork, *, escalations: Escalations, tickets: Tickets
) -> None:
    escalation = await _known_escalation(escalations, work.org, message.escalation_id)
    parts = list(comment_parts(f"{message.author}:\n{message.content}"))
    for number, part in enumerate(parts, start=1):
        # The last part carries the plain id: with it, the whole message is there.
        is_last = number == len(parts)
        ref = message.message_id if is_last else f"{message.message_id}/part-{number}"
        await tickets.comment(escalation, ref, part, is_public=message.is_public)


async def raise_priority(
    message: SupportPriorityRaised,
    work: UnitOfWork,
    *,
    escalations: Escalations,
    tickets: Tickets,
    watcher: TicketWatcher,
    desk: ZohoDesk,
) -> None:
    escalation = await _known_escalation(escalations, work.org, message.escalation_id)
    ticket = await _existing_ticket(watcher, escalation)
    if ticket.is_closed:
        raise PermanentError("the ticket is closed and takes no escalation", code="ticket_closed")
    if ticket.priority != message.priority:
        ticket = await desk.update_ticket(escalation.zoho_id, priority=message.priority)
    if message.reason and work.received:
        text = f"Priority raised to {message.priority}: {message.reason}"
        await tickets.comment(escalation, work.received.message_id, text, is_public=False)
    await watcher.announce_changes(work, escalation, ticket)


async def close_ticket(
    message: SupportCloseRequested,
    work: UnitOfWork,
    *,
    escalations: Escalations,
    watcher: TicketWatcher,
    desk: ZohoDesk,
) -> None:
    escalation = await _known_escalation(escalations, work.org, message.escalation_id)
    ticket = await _existing_ticket(watcher, escalation)
    if not ticket.is_closed:
        if message.resolution:
            await desk.update_ticket(escalation.zoho_id, resolution=as_html(message.resolution))
        await desk.close_tickets([escalation.zoho_id])
        ticket = await _existing_ticket(watcher, escalation)
    await watcher.announce_changes(work, escalation, ticket)


async def _known_escalation(escalations: Escalations, org: str, escalation_id: str) -> Escalation:
    escalation = await escalations.find(org, escalation_id)
    if escalation is None:
        raise NotYetKnown(
            "no ticket belongs to this escalation",
            kind="escalation",
            key=escalation_id,
            code="unknown_escalation",
        )
    return escalation


async def _existing_ticket(watcher: TicketWatcher, escalation: Escalation) -> Ticket:
    ticket = await watcher.read(escalation.zoho_id)
    if ticket is None:
        raise PermanentError(
            "the ticket is no longer there: merged or deleted by staff", code="zoho_not_found"
        )
    return ticket
