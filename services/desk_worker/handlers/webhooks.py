"""What Desk posts about tickets: hints of where to look."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from services.desk_worker.adoption import Adoption, email_in
from services.desk_worker.lookout import Lookout
from services.desk_worker.repositories.escalations import Escalation, Escalations
from shared.contracts.webhooks import WebhookReceived
from shared.contracts.zoho_payloads import DeskWebhook, TicketHint
from shared.errors import Postponed
from shared.messaging.unit_of_work import UnitOfWork
from shared.observability.metrics import Metrics
from shared.storage.open_webhooks import CLOSE_WEBHOOK
from shared.zoho.effects import Effects

# A ticket is made, and then we learn its id: meanwhile Desk may speak of it already.
UNTIL_KNOWN_S = 5.0


async def notice_ticket(
    message: WebhookReceived,
    work: UnitOfWork,
    *,
    escalations: Escalations,
    effects: Effects,
    lookout: Lookout,
    adoption: Adoption,
    metrics: Metrics,
) -> None:
    work.record(CLOSE_WEBHOOK, message.webhook_id)
    ticket_id = _ticket_id(message)
    if ticket_id is None:
        return
    escalation = await escalations.of_ticket(work.org, ticket_id)
    if escalation is None:
        if await effects.any_open(work.org, "desk"):
            raise Postponed("a ticket is being made", retry_after_s=UNTIL_KNOWN_S)
        if not await adoption.adopt(work, ticket_id, email_in(_resource(message))):
            metrics.webhooks_received.labels("desk", "unmatched", work.org).inc()
        return
    told = DeskWebhook.model_validate(message.payload)
    closing = _closing(message, told.ticket)
    untold = closing is not None and not await lookout.is_told(escalation, closing)
    # It was reopened, and of the closing before it nobody told us.
    missed = _is_closed(told.before) and escalation.state.kind != "closed"
    if untold or missed or _is_news(message, told.ticket, escalation):
        await lookout.look(work, escalation, hinted_closing=closing, look_back=missed)


def _resource(message: WebhookReceived) -> dict[str, Any]:
    resource = message.payload.get("payload")
    return resource if isinstance(resource, dict) else {}


def _ticket_id(message: WebhookReceived) -> str | None:
    """Comments and threads name their ticket; a ticket is its own. None for anything else."""
    if not message.event.startswith("ticket_"):
        return None
    resource = _resource(message)
    found = resource.get("ticketId") or resource.get("id")
    return None if found is None else str(found)


def _is_news(message: WebhookReceived, hint: TicketHint, escalation: Escalation) -> bool:
    """One read serves a burst: what was read later than the hint holds it already."""
    if message.event == "ticket_delete":
        return not escalation.state.gone  # a deletion leaves the time of the last change as it was
    told_at = hint.modified_time or message.event_time
    last = escalation.state.modified_at
    return told_at is None or last is None or told_at > last


def _closing(message: WebhookReceived, hint: TicketHint) -> datetime | None:
    is_ticket = message.event in ("ticket_add", "ticket_update")
    return hint.closed_time if is_ticket and _is_closed(hint) else None


def _is_closed(hint: TicketHint | None) -> bool:
    return hint is not None and (hint.status_type or "").casefold() == "closed"
