"""Take Desk's webhooks about tickets as hints of where to look."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from services.desk_worker.repositories.escalations import Escalation, Escalations
from services.desk_worker.watching.adoption import Adoption, email_in
from services.desk_worker.watching.staff_messages import StaffMessages
from services.desk_worker.watching.ticket_watcher import TicketWatcher
from shared.contracts.webhooks import WebhookReceived
from shared.contracts.zoho_payloads import DeskWebhook, TicketHint
from shared.errors import Postponed
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.observability.metrics import Metrics
from shared.zoho.effects.effects import Effects

# A ticket is made, and then we learn its id: meanwhile Desk may speak of it already.
UNTIL_KNOWN_S = 5.0
# Everything else that Desk posts changes nothing that we announce, and costs no call.
_OF_STATE = ("ticket_add", "ticket_update", "ticket_delete")
_OF_WORDS = ("ticket_comment_add", "ticket_thread_add")


async def notice_ticket(
    message: WebhookReceived,
    work: UnitOfWork,
    *,
    escalations: Escalations,
    effects: Effects,
    lookout: TicketWatcher,
    said: StaffMessages,
    adoption: Adoption,
    metrics: Metrics,
) -> None:
    ticket_id = _ticket_id(message)
    if ticket_id is None or message.event not in (*_OF_STATE, *_OF_WORDS):
        return
    escalation = await escalations.of_ticket(work.org, ticket_id)
    if escalation is None:
        if await effects.any_open(work.org, "desk"):
            raise Postponed("a ticket is being made", retry_after_s=UNTIL_KNOWN_S)
        if not await adoption.adopt(work, ticket_id, email_in(_resource(message))):
            metrics.webhooks_received.labels("desk", "unmatched", work.org).inc()
    elif message.event in _OF_WORDS:
        await said.tell(work, escalation, message.event, _resource(message))
    else:
        await _look(message, work, escalation, lookout)


async def _look(
    message: WebhookReceived, work: UnitOfWork, escalation: Escalation, lookout: TicketWatcher
) -> None:
    told = DeskWebhook.model_validate(message.payload)
    closing = told.ticket.closed_time if _is_closed(told.ticket) else None
    untold = closing is not None and not await lookout.is_told(escalation, closing)
    # It was reopened, and nothing reported the closing before that.
    missed = _is_closed(told.before) and escalation.state.kind != "closed"
    if untold or missed or _is_news(message, told.ticket.modified_time, escalation):
        await lookout.look(work, escalation, hinted_closing=closing, look_back=missed)


def _resource(message: WebhookReceived) -> dict[str, Any]:
    resource = message.payload.get("payload")
    return resource if isinstance(resource, dict) else {}


def _ticket_id(message: WebhookReceived) -> str | None:
    """Comments and threads name their ticket. A ticket is its own."""
    resource = _resource(message)
    found = resource.get("ticketId") or resource.get("id")
    return None if found is None else str(found)


def _is_news(message: WebhookReceived, modified: datetime | None, escalation: Escalation) -> bool:
    """One read serves a burst: what was read later than the hint holds it already."""
    if message.event == "ticket_delete":
        return not escalation.state.gone  # a deletion leaves the time of the last change as it was
    told_at = modified or message.event_time
    last = escalation.state.modified_at
    return told_at is None or last is None or told_at > last


def _is_closed(hint: TicketHint | None) -> bool:
    return hint is not None and (hint.status_type or "").casefold() == "closed"
