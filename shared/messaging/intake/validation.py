"""Check a message against its contract, and make of it what the inbox stores."""

from __future__ import annotations

import re
from typing import Final

from pydantic import BaseModel

from shared.contracts.commands import UserErasureRequested
from shared.contracts.parsing import MAX_BODY_BYTES, parse
from shared.crypto.blind_index import BlindIndex
from shared.crypto.envelope import DayKey, Vault
from shared.errors import InvalidMessage, PermanentError, Unavailable
from shared.messaging.handling.giving_up import derived_id, failure_of
from shared.messaging.handling.routes import MessagePriority, Routes
from shared.messaging.inbox.arrived_message import ArrivedMessage, GivenUp, WaitsForRelease
from shared.messaging.inbox.ordering_key import NO_LINE, OrderingKey, line_key_of
from shared.messaging.messages.decode import Arrival
from shared.messaging.messages.outgoing_message import SEALED, sealing_context
from shared.messaging.messages.received_message import MAX_MESSAGE_ID, ReceivedMessage
from shared.messaging.outbox.rows import rows_of
from shared.storage.pool import unavailable_when_down

_OVERHEAD_BYTES: Final = 64  # of sealing

# Queues of ours: an answer there would be taken for a command, or never be read.
_OURS: Final = re.compile(
    r"zoho\.|unrouted|(billing-worker|crm-worker|desk-worker|webhook-gateway|token-service)\."
)
_DIED_OF: Final = {
    "expired": ("expired", "it expired in the queue before it was taken"),
    "delivery_limit": ("delivery_limit", "it was delivered too often without an answer"),
}


class Validation:
    """Validates what arrived. Nothing that arrives makes it raise, but an outage of the keys."""

    def __init__(
        self,
        service: str,
        routes: Routes,
        vault: Vault,
        index: BlindIndex,
        *,
        known_orgs: frozenset[str],
        release_s: float,
    ) -> None:
        self._service = service
        self._routes = routes
        self._vault = vault
        self._index = index
        self._known_orgs = known_orgs
        self._release_s = release_s

    async def read(self, arrival: Arrival, *, unrouted: bool = False) -> ArrivedMessage:
        """What is to be stored of it.

        Args:
            unrouted: it came by the queue of the commands that no queue takes.
        Raises:
            Unavailable: `database_unavailable`, the keys could not be read.
        """
        message = arrival.message
        try:
            _check_arrival(arrival)
            body = await self._open(message)
            self._check_properties(message)
            return await self._accepted(message, body, unrouted=unrouted)
        except Unavailable as error:
            if error.code != "unknown_key":
                raise
            return self._arrived(
                message,
                message.body,
                NO_LINE,
                waits=WaitsForRelease(error.code, error.reason, end_s=None),
            )
        except PermanentError as error:
            return await self.given_up(message, error.code, error.reason)

    async def given_up(self, message: ReceivedMessage, code: str, reason: str) -> ArrivedMessage:
        """The message stored as given up, with its `command.failed.v1` and its reply, unparsed.

        A body beyond the limit is not kept: it may be anything up to the broker's own limit.
        """
        announced = await self._announced(message, message.body, code, reason)
        if not message.is_identified:
            # An id of its own, the same for the same message.
            message = message._replace(message_id=str(derived_id(self._service, message, "id")))
        macs = b"".join(self._index.macs("body", message.body))
        kept = b"" if _is_too_large(message.body) else message.body
        return self._arrived(message, kept, NO_LINE, macs=macs, given_up=announced)

    async def refuse(self, arrived: ArrivedMessage, code: str, reason: str) -> GivenUp:
        """What announces that a valid message is given up as it arrives (a reused id)."""
        return await self._announced(received_of(arrived), arrived.body, code, reason)

    async def refused_by_database(self, arrived: ArrivedMessage, sqlstate: str) -> ArrivedMessage:
        """A message of which PostgreSQL takes not even the row: given up, without its headers."""
        reason = f"a value of it cannot be stored ({sqlstate or 'not encodable'})"
        message = received_of(arrived)._replace(
            headers={}, traceparent=None, reply_to=None, timestamp=None
        )
        return await self.given_up(message, "invalid_message", reason)

    async def _announced(
        self, message: ReceivedMessage, body: bytes, code: str, reason: str
    ) -> GivenUp:
        work = failure_of(self._service, message, code, reason, claim=0, body=body)
        with unavailable_when_down():
            key = await self._vault.key_of(DayKey(message.org))
        return GivenUp(code, reason, tuple(rows_of(work, {}, key)))

    async def _accepted(
        self, message: ReceivedMessage, body: bytes, *, unrouted: bool
    ) -> ArrivedMessage:
        route = self._routes.find(message.exchange, message.routing_key)
        if unrouted:
            raise InvalidMessage("there is no command of this routing key", code="unknown_command")
        if route is None:
            # Bound by a neighbouring version of this service, which will handle it.
            reason = "no replica that runs has a handler for it"
            return self._arrived(
                message,
                message.body,
                self._line(message, None),
                waits=WaitsForRelease("unknown_command", reason, end_s=self._release_s),
            )
        parsed = parse(route.model, body)
        return self._arrived(
            message,
            message.body,
            self._line(message, parsed),
            parsed=parsed,
            macs=b"".join(self._index.macs("body", body)),
            priority=route.priority,
            records=route.records,
        )

    def _line(self, message: ReceivedMessage, parsed: BaseModel | None) -> OrderingKey:
        return line_key_of(parsed, message.org, self._index)

    def _arrived(
        self,
        message: ReceivedMessage,
        body: bytes,
        ordering: OrderingKey,
        *,
        parsed: BaseModel | None = None,
        macs: bytes | None = None,
        priority: MessagePriority = MessagePriority.COMMANDS,
        records: tuple[str, ...] = (),
        given_up: GivenUp | None = None,
        waits: WaitsForRelease | None = None,
    ) -> ArrivedMessage:
        return ArrivedMessage(
            org=message.org,
            exchange=message.exchange,
            routing_key=message.routing_key,
            message_id=message.message_id,
            macs=macs if macs is not None else b"".join(self._index.macs("body", body)),
            ordering=ordering,
            priority=priority,
            correlation_id=message.correlation_id,
            reply_to=message.reply_to,
            traceparent=message.traceparent,
            sent_at=message.timestamp,
            headers=dict(message.headers),
            body=body,
            parsed=parsed,
            records=records,
            route=self._routes.key_of(message.exchange, message.routing_key),
            first=message.routing_key == UserErasureRequested.routing_key,
            given_up=given_up,
            waits=waits,
        )

    async def _open(self, message: ReceivedMessage) -> bytes:
        if message.headers.get(SEALED) != 1:
            return message.body
        with unavailable_when_down():
            return await self._vault.open_bytes(message.body, sealing_context(message.message_id))

    def _check_properties(self, message: ReceivedMessage) -> None:
        if not message.message_id:
            raise InvalidMessage("the property message_id is missing", code="message_id_missing")
        if not message.is_identified:
            raise InvalidMessage(
                f"the property message_id must be text of at most {MAX_MESSAGE_ID} characters",
                code="message_id_invalid",
            )
        org = message.headers.get("org", message.org)
        if not isinstance(org, str) or org not in self._known_orgs:
            raise PermanentError("there is no such organization", code="unknown_organization")
        if message.reply_to and _OURS.match(message.reply_to):
            raise PermanentError("reply_to names a queue of this system", code="reply_to_refused")


def received_of(arrived: ArrivedMessage) -> ReceivedMessage:
    return ReceivedMessage(
        exchange=arrived.exchange,
        routing_key=arrived.routing_key,
        message_id=arrived.message_id,
        org=arrived.org,
        correlation_id=arrived.correlation_id or "",
        body=arrived.body,
        traceparent=arrived.traceparent,
        reply_to=arrived.reply_to,
        timestamp=arrived.sent_at,
        headers=arrived.headers,
    )


def _check_arrival(arrival: Arrival) -> None:
    if arrival.died_of is not None:
        code, reason = _DIED_OF.get(arrival.died_of, _DIED_OF["delivery_limit"])
        raise PermanentError(reason, code=code)
    if arrival.unreadable:
        names = ", ".join(arrival.unreadable)
        raise InvalidMessage(f"properties that cannot be read: {names}")
    if _is_too_large(arrival.message.body):
        raise InvalidMessage(f"the body is longer than {MAX_BODY_BYTES} bytes", code="too_large")


def _is_too_large(body: bytes) -> bool:
    return len(body) > MAX_BODY_BYTES + _OVERHEAD_BYTES
