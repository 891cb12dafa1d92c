"""Read the tickets that Desk's webhooks name. A webhook is only a hint."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from services.desk_worker.repositories.escalations import Escalation, Escalations
from services.desk_worker.watching.adoption import Adoption, email_in
from services.desk_worker.watching.changes import customer_replied
from services.desk_worker.watching.staff_messages import StaffMessages, parse_time
from services.desk_worker.watching.ticket_watcher import TicketWatcher
from shared.contracts.webhooks import WebhookReceived
from shared.contracts.zoho_payloads import DeskWebhook, TicketHint
from shared.errors import LookAgain
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.observability.metrics import Metrics
from shared.zoho.effects.effects import Effects

# Desk may send a webhook about a ticket of ours before the answer with its id reaches us.
UNTIL_KNOWN_S = 5.0
# Every other event changes nothing that we announce, and costs no call.
_STATE_EVENTS = ("ticket_add", "ticket_update", "ticket_delete")
_MESSAGE_EVENTS = ("ticket_comment_add", "ticket_thread_add")


async def notice_ticket(
    message: WebhookReceived,
    work: UnitOfWork,
    *,
    escalations: Escalations,
    effects: Effects,
    watcher: TicketWatcher,
    staff_messages: StaffMessages,
    adoption: Adoption,
    metrics: Metrics,
) -> None:
    ticket_id = _ticket_id(message)
    if ticket_id is None or message.event not in (*_STATE_EVENTS, *_MESSAGE_EVENTS):
        return
    escalation = await escalations.find_by_ticket(work.org, ticket_id)
    if escalation is None:
        if await effects.any_open(work.org, "desk"):
            raise LookAgain("a ticket is being made", retry_after_s=UNTIL_KNOWN_S)
        if not await adoption.adopt(work, ticket_id, email_in(_resource(message))):
            metrics.webhooks_received.labels("desk", "unmatched", work.org).inc()
    elif _is_by_customer(message):
        replied_at = parse_time(_resource(message).get("createdTime"))
        if replied_at is None or customer_replied(escalation.state, replied_at):
            await watcher.check(work, escalation)
    elif message.event in _MESSAGE_EVENTS:
        await staff_messages.announce(work, escalation, message.event, _resource(message))
    else:
        await _check(message, work, escalation, watcher)


async def _check(
    message: WebhookReceived, work: UnitOfWork, escalation: Escalation, watcher: TicketWatcher
) -> None:
    hint = DeskWebhook.model_validate(message.payload)
    closing = hint.ticket.closed_time if _is_closed(hint.ticket) else None
    unannounced = closing is not None and not await watcher.is_announced(escalation, closing)
    # The ticket was reopened, and nothing reported the closing before that.
    missed = _is_closed(hint.before) and escalation.state.status_type != "closed"
    if unannounced or missed or _is_newer(message, hint.ticket.modified_time, escalation):
        await watcher.check(work, escalation, hinted_closing=closing, look_back=missed)


def _is_by_customer(message: WebhookReceived) -> bool:
    return message.event == "ticket_thread_add" and _resource(message).get("direction") == "in"


def _resource(message: WebhookReceived) -> dict[str, Any]:
    resource = message.payload.get("payload")
    return resource if isinstance(resource, dict) else {}


def _ticket_id(message: WebhookReceived) -> str | None:
    """Return the ticket's id: comments and threads name their ticket."""
    resource = _resource(message)
    ticket_id = resource.get("ticketId") or resource.get("id")
    return None if ticket_id is None else str(ticket_id)


def _is_newer(message: WebhookReceived, modified: datetime | None, escalation: Escalation) -> bool:
    """Whether the hint is newer than the last read: one read serves a burst of webhooks."""
    if message.event == "ticket_delete":
        return not escalation.state.gone  # a deletion leaves the time of the last change as it was
    hinted_at = modified or message.event_time
    last = escalation.state.modified_at
    return hinted_at is None or last is None or hinted_at > last


def _is_closed(hint: TicketHint | None) -> bool:
    return hint is not None and (hint.status_type or "").casefold() == "closed"
