"""What a unit of work wants published, as rows of the outbox."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import orjson

from shared.crypto.data_key import DataKey
from shared.messaging.handling.routes import EVENTS
from shared.messaging.handling.unit_of_work import (
    EventToPublish,
    LetterToSend,
    OnTheWire,
    UnitOfWork,
)
from shared.messaging.messages.outgoing_message import Letter, place_of
from shared.messaging.outbox.outbox import Row, sealed_header

Versions = dict[tuple[str, str], int]
"""By (org, subject), the version of its last event."""


def rows_of(work: UnitOfWork, versions: Versions, key: DataKey) -> list[Row]:
    """The unit's events, then its letters, sealed under `key`; counts `versions` up."""
    rows = [_event_row(work, event, versions, key) for event in work.events]
    rows += [_letter_row(work.org, letter, key) for letter in work.letters]
    return rows


def _event_row(work: UnitOfWork, pending: EventToPublish, versions: Versions, key: DataKey) -> Row:
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
    letter = Letter(
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


def _letter_row(org: str, pending: LetterToSend, key: DataKey) -> Row:
    letter = pending.letter
    match pending.wire:
        case OnTheWire.OPEN:
            return _row(pending.id, org, letter, key)
        case OnTheWire.SEALED:
            sealed = key.seal(letter.body, place_of(letter.message_id))
            letter = replace(letter, body=sealed, headers=sealed_header(letter))
        case OnTheWire.SEALED_ALREADY:
            letter = replace(letter, headers=sealed_header(letter))
    return Row(pending.id, org, letter, letter.body, sealed=True)


def _row(row_id: UUID, org: str, letter: Letter, key: DataKey) -> Row:
    stored = key.seal(letter.body, place_of(letter.message_id))
    return Row(row_id, org, letter, stored, sealed=False)
