"""Describe a message that has arrived and is to be stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from pydantic import BaseModel

from shared.messaging.inbox.ordering_key import NO_LINE, OrderingKey
from shared.messaging.messages.received_message import NO_HEADERS
from shared.messaging.outbox.outbox import OutboxRow


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A message that is given up as it arrives, with what announces that: rows of the outbox."""

    code: str
    reason: str
    announcements: tuple[OutboxRow, ...] = ()


@dataclass(frozen=True, slots=True)
class WaitsForRelease:
    """A message that this version cannot handle. It waits for another one, with an end.

    `code` and `reason`: under which it is given up after `end_s` (`unknown_command`).
    `end_s` is None for what has no end (`unknown_key`).
    """

    code: str
    reason: str
    end_s: float | None = 86_400.0


class ArrivedMessage(NamedTuple):
    """A message as it is stored.

    Args:
        macs: of the body under each index key in use, 32 bytes each, in a row.
        route: its key in the table of routes. None: the routing key itself. A replica leases the
            messages whose route it has.
        records: the kinds of facts that it may record, as its route says. Waits for such a fact
            do not count towards their end while this message is open.
        body: as it came. Sealed by the acceptance.
        parsed: what its contract makes of the body. None when it is not to be handled.
        first: stands at the front of its line (an erasure), and is not refused as `erased`.
    """

    org: str
    exchange: str
    routing_key: str
    message_id: str
    macs: bytes
    ordering: OrderingKey = NO_LINE
    priority: int = 1
    correlation_id: str | None = None
    reply_to: str | None = None
    traceparent: str | None = None
    sent_at: datetime | None = None
    headers: Mapping[str, Any] = NO_HEADERS
    body: bytes = b""
    parsed: BaseModel | None = None
    route: str | None = None
    records: tuple[str, ...] = ()
    first: bool = False
    given_up: GivenUp | None = None
    waits: WaitsForRelease | None = None
