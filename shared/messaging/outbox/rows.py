"""Turn what a unit of work wants published into rows of the outbox."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import orjson

from shared.crypto.data_key import DataKey
from shared.messaging.handling.routes import EVENTS
from shared.messaging.handling.unit_of_work import (
    BodyEncoding,
    EventToPublish,
    PendingMessage,
    UnitOfWork,
)
from shared.messaging.messages.outgoing_message import OutgoingMessage, sealing_context
from shared.messaging.outbox.outbox import OutboxRow, sealed_header

Versions = dict[tuple[str, str], int]
"""By (org, subject), the version of its last event."""


def rows_of(work: UnitOfWork, versions: Versions, key: DataKey) -> list[OutboxRow]:
    """The unit's events, then its messages, sealed under `key`. Counts `versions` up."""
    rows = [_event_row(work, event, versions, key) for event in work.events]
    rows += [_message_row(work.org, message, key) for message in work.messages]
    return rows


def version_subjects(pending: EventToPublish) -> list[str]:
    """The subjects whose version the event raises. None for a fact that supersedes nothing."""
    return [*_raised_by(pending).values()]


def _raised_by(pending: EventToPublish) -> dict[str, str]:
    """By field of the event, the subject whose version the field carries."""
    return pending.event.version_subjects(pending.subject)


def _event_row(
    work: UnitOfWork, pending: EventToPublish, versions: Versions, key: DataKey
) -> OutboxRow:
    numbers = {}
    for field, subject in _raised_by(pending).items():
        versions[work.org, subject] += 1
        numbers[field] = versions[work.org, subject]
    now = datetime.now(UTC)
    body = orjson.dumps(
        {
            "occurred_at": now,
            **pending.event.model_dump(mode="json", exclude_none=True),
            "event_id": str(pending.event_id),
            "org": work.org,
            "subject": pending.subject,
            **numbers,
        }
    )
    message = OutgoingMessage(
        EVENTS,
        pending.event.routing_key,
        str(pending.event_id),
        body,
        mandatory=False,  # what nobody bound is dropped, on purpose
        correlation_id=work.correlation_id,
        timestamp=now,
        headers={**work.trace(), "org": work.org},
    )
    return _row(pending.event_id, work.org, message, key)


def _message_row(org: str, pending: PendingMessage, key: DataKey) -> OutboxRow:
    message = pending.message
    if pending.encoding is BodyEncoding.OPEN:
        return _row(pending.id, org, message, key)
    sealed = key.seal(message.body, sealing_context(message.message_id))
    message = message._replace(body=sealed, headers=sealed_header(message))
    return OutboxRow(pending.id, org, message, message.body, sealed=True)


def _row(row_id: UUID, org: str, message: OutgoingMessage, key: DataKey) -> OutboxRow:
    stored = key.seal(message.body, sealing_context(message.message_id))
    return OutboxRow(row_id, org, message, stored, sealed=False)
