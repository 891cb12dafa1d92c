"""Accept only what matches its contract. Everything else is told why."""

from __future__ import annotations

import re
from typing import Final

from shared.contracts.parsing import MAX_BODY_BYTES, parse
from shared.crypto.envelope import Vault
from shared.errors import InvalidMessage, PermanentError, Unavailable
from shared.messaging.broker.topology import UNROUTED_QUEUE
from shared.messaging.consuming.attempt import Attempt, Handler, Middleware
from shared.messaging.consuming.waiting import retry_until_database_returns
from shared.messaging.messages.delivery import MAX_MESSAGE_ID, Delivery
from shared.messaging.messages.outgoing_message import SEALED, sealing_context
from shared.storage.pool import unavailable_when_down

_OVERHEAD_BYTES: Final = 64  # of sealing
_KEY_WAIT_S: Final = 60.0

# Queues of ours: an answer there would be taken for a command, or never be read.
_OURS: Final = re.compile(
    r"zoho\.|unrouted$|.*\.dead$|.*\.retry\.[^.]*$"
    r"|(billing-worker|crm-worker|desk-worker|webhook-gateway|token-service)\."
)


def open_and_parse(vault: Vault, known_orgs: frozenset[str]) -> Middleware:
    """Check the properties, open a sealed body, and make the contract's model of it."""

    def middleware(handle: Handler) -> Handler:
        async def opened(attempt: Attempt) -> None:
            delivery = attempt.delivery
            _check_size(delivery)
            attempt.body = await _open(vault, attempt)
            _check_properties(delivery, known_orgs)
            attempt.route = attempt.lane.route(delivery.routing_key)
            if attempt.route is not None:
                attempt.message = parse(attempt.route.model, attempt.body)
            elif attempt.lane.name == UNROUTED_QUEUE:
                raise InvalidMessage(
                    "there is no command of this routing key", code="unknown_command"
                )
            await handle(attempt)

        return opened

    return middleware


def _check_size(delivery: Delivery) -> None:
    if len(delivery.body) > MAX_BODY_BYTES + _OVERHEAD_BYTES:
        raise InvalidMessage(f"the body is longer than {MAX_BODY_BYTES} bytes", code="too_large")


def _check_properties(delivery: Delivery, known_orgs: frozenset[str]) -> None:
    if not delivery.message_id:
        raise InvalidMessage("the property message_id is missing", code="message_id_missing")
    if not delivery.is_identified:
        raise InvalidMessage(
            f"the property message_id must be text of at most {MAX_MESSAGE_ID} characters",
            code="message_id_invalid",
        )
    org = delivery.headers.get("org", delivery.org)
    if org not in known_orgs:
        raise PermanentError("there is no such organization", code="unknown_organization")
    if delivery.reply_to and _OURS.match(delivery.reply_to):
        raise PermanentError("reply_to names a queue of this system", code="reply_to_refused")


async def _open(vault: Vault, attempt: Attempt) -> bytes:
    delivery = attempt.delivery
    if delivery.headers.get(SEALED) != 1:
        return delivery.body

    async def opened() -> bytes:
        with unavailable_when_down():
            return await vault.open_bytes(delivery.body, sealing_context(delivery.message_id))

    try:
        return await retry_until_database_returns(opened, attempt, claimed=False)
    except Unavailable as error:
        # A key that our ring lacks. No attempt is counted before the claim, so it waits longer.
        raise Unavailable(error.reason, code=error.code, retry_after_s=_KEY_WAIT_S) from error
