"""Giving up on a message: one transaction, as handling it is."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from shared.contracts.events import CommandFailed
from shared.crypto.blind_index import BlindIndex
from shared.messaging.consuming.attempt import Attempt
from shared.messaging.consuming.delayed_retry import carried_on
from shared.messaging.handling.routes import COMMANDS, UNROUTED
from shared.messaging.handling.unit_of_work import (
    BodyEncoding,
    InboxUpdate,
    PendingMessage,
    UnitOfWork,
)
from shared.messaging.messages.outgoing_message import (
    ATTEMPTS,
    CODE,
    FIRST_EXCHANGE,
    FIRST_ROUTING_KEY,
    GIVEN_UP_AT,
    REASON,
    REPLAY,
    SEALED,
    OutgoingMessage,
)
from shared.messaging.outbox.committer import Committer
from shared.messaging.outbox.outbox import OutboxRow

ERASED: Final = "erased"
_MAX_REASON: Final = 1000


class DeadLettering:
    """Writes `given_up`, the dead letter, `command.failed.v1` and the refusal of a reply.

    RabbitMQ drops a dead letter that was not replayed within `kept_s` seconds.

    Their ids are derived from the message, so that a crash in between makes no second one.
    """

    def __init__(
        self, service: str, committer: Committer, digest: BlindIndex, *, kept_s: float
    ) -> None:
        self._service = service
        self._kept_s = kept_s
        self._committer = committer
        self._digest = digest

    async def write(self, attempt: Attempt, code: str, reason: str) -> list[OutboxRow]:
        """Commit it; the rows returned are to be published.

        Raises ClaimLost, Unavailable: as `Committer.commit`.
        """
        delivery = attempt.delivery
        work = UnitOfWork(
            org=delivery.org, delivery=delivery, settling=self._settling(attempt, code)
        )
        if code != ERASED:  # of a user who asked to be forgotten, nothing is kept
            work.letters.append(self._dead_letter(attempt, code, reason))
        if attempt.lane.exchange in (COMMANDS, UNROUTED):
            work.publish(
                CommandFailed(
                    service=self._service,
                    failed_routing_key=delivery.routing_key,
                    message_id=delivery.message_id or None,
                    code=code,
                    reason=reason,
                ),
                event_id=self._derived(attempt, "event"),
            )
            if code != "reply_to_refused":
                work.answer({"ok": False, "code": code, "reason": reason})
        return await self._committer.commit(work)

    def _settling(self, attempt: Attempt, code: str) -> InboxUpdate | None:
        if attempt.claim is not None:
            return InboxUpdate(attempt.key, attempt.claim.number, code, given_up=True)
        if not attempt.delivery.is_identified:
            return None
        mac = self._digest.mac("body", attempt.body)
        return InboxUpdate(attempt.key, None, code, attempt.delivery.exchange, mac, given_up=True)

    def _dead_letter(self, attempt: Attempt, code: str, reason: str) -> PendingMessage:
        delivery = attempt.delivery
        row_id = self._derived(attempt, "dead letter")
        told: dict[str, str | int] = {
            REASON: reason[:_MAX_REASON],
            CODE: code,
            ATTEMPTS: attempt.claim.attempt if attempt.claim else 0,
            GIVEN_UP_AT: datetime.now(UTC).isoformat(timespec="seconds"),
            FIRST_EXCHANGE: delivery.exchange,
            FIRST_ROUTING_KEY: delivery.routing_key,
        }
        headers = carried_on(delivery.headers, told)
        headers.pop(REPLAY, None)
        letter = OutgoingMessage(
            "",
            f"{delivery.queue}.dead",
            delivery.message_id or str(row_id),
            delivery.body,
            correlation_id=delivery.correlation_id,
            reply_to=delivery.reply_to,
            timestamp=delivery.timestamp,
            headers=headers,
            expires_ms=round(self._kept_s * 1000),
        )
        sealed = delivery.headers.get(SEALED) == 1
        return PendingMessage(
            letter, BodyEncoding.SEALED_ALREADY if sealed else BodyEncoding.SEALED, row_id
        )

    def _derived(self, attempt: Attempt, part: str) -> UUID:
        """The same for the same message, body and claim: a replay that fails again is another."""
        delivery = attempt.delivery
        digest = hashlib.sha256()
        for text in (
            self._service,
            *attempt.key,
            hashlib.sha256(attempt.body or delivery.body).hexdigest(),
            str(attempt.claim.number if attempt.claim else 0),
            str(delivery.headers.get(REPLAY, "")),
            part,
        ):
            encoded = text.encode(errors="surrogatepass")
            digest.update(len(encoded).to_bytes(4, "big") + encoded)
        return UUID(bytes=digest.digest()[:16], version=5)
