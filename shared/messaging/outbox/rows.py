"""What a unit of work wants published, as rows of the outbox."""

from __future__ import annotations

from dataclasses import replace
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
    """The unit's events, then its letters, sealed under `key`; counts `versions` up."""
    rows = [_event_row(work, event, versions, key) for event in work.events]
    rows += [_letter_row(work.org, letter, key) for letter in work.letters]
    return rows


def _event_row(
    work: UnitOfWork, pending: EventToPublish, versions: Versions, key: DataKey
) -> OutboxRow:
    at = (work.org, pending.subject)
    versions[at] += 1
    now = datetime.now(UTC)
    body = orjson.dumps(
        {
            "occurred_at": now,
            **pending.event.model_dump(mode="json", exclude_none=True),
            "event_id": str(pending.event_id),
            "org": work.org,
            "subject": pending.subject,
            "version": versions[at],
        }
    )
    letter = OutgoingMessage(
        EVENTS,
        pending.event.routing_key,
        str(pending.event_id),
        body,
        mandatory=False,  # what nobody bound is dropped, on purpose
        correlation_id=work.correlation_id,
        timestamp=now,
        headers={**work.trace(), "org": work.org},
    )
    return _row(pending.event_id, work.org, letter, key)


def _letter_row(org: str, pending: PendingMessage, key: DataKey) -> OutboxRow:
    letter = pending.letter
    match pending.wire:
        case BodyEncoding.OPEN:
            return _row(pending.id, org, letter, key)
        case BodyEncoding.SEALED:
            sealed = key.seal(letter.body, sealing_context(letter.message_id))
            letter = replace(letter, body=sealed, headers=sealed_header(letter))
        case BodyEncoding.SEALED_ALREADY:
            letter = replace(letter, headers=sealed_header(letter))
    return OutboxRow(pending.id, org, letter, letter.body, sealed=True)


def _row(row_id: UUID, org: str, letter: OutgoingMessage, key: DataKey) -> OutboxRow:
    stored = key.seal(letter.body, sealing_context(letter.message_id))
    return OutboxRow(row_id, org, letter, stored, sealed=False)
