"""Accept what has arrived: store a group of messages in the order of their queue."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import asyncpg

from shared.crypto.envelope import Vault
from shared.messaging.inbox.ordering_key import NO_LINE, OrderingKey
from shared.messaging.outbox.outbox import Outbox, OutboxRow


class AcceptResult(StrEnum):
    """What became of one message of a group."""

    NEW = "new"
    REPEATED = "repeated"  # accepted before, with the same body
    REUSED = "reused"  # its id was used with another body: given up as `message_id_reused`
    ERASED = "erased"  # its user asked to be forgotten: given up as `erased`, nothing is kept
    GIVEN_UP = "given_up"  # as `ArrivedMessage.given_up` says


class RowFault(Exception):
    """The database, or the driver, refuses one of the rows: halve the group to find it.

    `sqlstate`: of class 22, 23 or 54; empty when the driver cannot encode a value.
    """

    def __init__(self, sqlstate: str) -> None:
        super().__init__(f"a row was refused ({sqlstate or 'not encodable'})")
        self.sqlstate = sqlstate


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A message that is given up as it arrives, with what announces that: rows of the outbox."""

    code: str
    reason: str
    announcements: tuple[OutboxRow, ...] = ()


@dataclass(frozen=True, slots=True)
class WaitsForRelease:
    """A message that this version cannot handle. It waits for another one, with an end.

    `code` and `reason`: under which it is given up at the end (`unknown_command`, `unknown_key`).
    """

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class ArrivedMessage:
    """A message as it is stored.

    Args:
        macs: of the body under each index key in use, 32 bytes each, in a row.
        route: its key in the table of routes; None: the routing key itself. A replica leases the
            messages whose route it has.
        body: as it came; sealed by the acceptance.
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
    headers: Mapping[str, Any] = field(default_factory=dict)
    body: bytes = b""
    route: str | None = None
    first: bool = False
    given_up: GivenUp | None = None
    waits: WaitsForRelease | None = None


Refuse = Callable[[ArrivedMessage, str, str], Awaitable[GivenUp]]
"""What announces that a message is given up under this code, for this reason."""


class Acceptance:
    """The acceptance of one service's schema.

    Args:
        refuse: asked for what announces a reused id or a message of an erased user.
        outbox: where announcements are written.
    """

    def __init__(
        self, pool: asyncpg.Pool, schema: str, vault: Vault, outbox: Outbox, refuse: Refuse
    ) -> None:
        raise NotImplementedError

    async def accept(self, group: Sequence[ArrivedMessage]) -> list[AcceptResult]:
        """Store the group as one, in its order. On return all of it is durable.

        Deadlocks and serialization failures are repeated here.
        Raises:
            Unavailable: an outage. Nothing was stored, or the answer was lost: ask again.
            RowFault: nothing was stored, and it is the fault of a row.
        """
        raise NotImplementedError
