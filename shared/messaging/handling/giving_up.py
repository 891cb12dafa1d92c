"""Make the unit of work that gives a message up: `command.failed.v1` and the refusal of a reply."""

from __future__ import annotations

import hashlib
from uuid import UUID

from shared.contracts.events import CommandFailed
from shared.messaging.handling.routes import COMMANDS
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.messaging.messages.received_message import ReceivedMessage


def failure_of(
    service: str, message: ReceivedMessage, code: str, reason: str, *, claim: int, body: bytes
) -> UnitOfWork:
    """What is announced when a message is given up. Only a command has a sender who is waiting.

    The ids are derived from the message, so that a crash in between announces nothing twice.
    `claim` is that of the attempt which gives it up: a replay that fails again is another failure.
    """
    work = UnitOfWork(org=message.org, received=message)
    if message.exchange == COMMANDS:
        work.publish(
            CommandFailed(
                service=service,
                failed_routing_key=message.routing_key,
                message_id=message.message_id or None,
                code=code,
                reason=reason,
            ),
            event_id=derived_id(service, message, "event", claim=claim, body=body),
        )
        if code != "reply_to_refused":
            work.answer(
                {"ok": False, "code": code, "reason": reason},
                reply_id=derived_id(service, message, "reply", claim=claim, body=body),
            )
    return work


def derived_id(
    service: str, message: ReceivedMessage, part: str, *, claim: int = 0, body: bytes | None = None
) -> UUID:
    """The same id for the same message, body and claim."""
    digest = hashlib.sha256()
    for text in (
        service,
        message.org,
        message.routing_key,
        message.message_id,
        hashlib.sha256(message.body if body is None else body).hexdigest(),
        str(claim),
        part,
    ):
        encoded = text.encode(errors="surrogatepass")
        digest.update(len(encoded).to_bytes(4, "big") + encoded)
    return UUID(bytes=digest.digest()[:16], version=5)
