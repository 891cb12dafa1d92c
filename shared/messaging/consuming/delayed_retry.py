"""Sends a message back to its queue later: confirmed into a delayed-retry queue, then acked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, cast

import structlog
from pamqp.common import FieldTable

from shared.errors import Unavailable
from shared.messaging.broker.publisher import Publisher
from shared.messaging.broker.topology import retry_exchange
from shared.messaging.consuming.attempt import Abandoned, Attempt
from shared.messaging.handling.policy import RetryPolicy
from shared.messaging.messages.outgoing_message import (
    FIRST_EXCHANGE,
    FIRST_ROUTING_KEY,
    OutgoingMessage,
)

_log = structlog.get_logger(__name__)

_PAUSE_S: Final = 1.0

# The broker's own, which it reads again when it finds them (3.10) or which only grow.
_BROKERS = ("x-death", "x-delivery-count", "x-acquired-count", "cc", "bcc")


class DelayedRetry:
    """Delayed retry of one service."""

    def __init__(self, publisher: Publisher, service: str, policy: RetryPolicy) -> None:
        self._publisher = publisher
        self._service = service
        self._policy = policy

    async def send_back(self, attempt: Attempt, delay_s: float) -> None:
        """Return once the broker has the copy that comes back after `delay_s`, rounded up.

        Waits while the broker is away: the original is not acknowledged yet.
        Raises:
            Abandoned: its channel is gone; the original comes again by itself.
        """
        letter = self._letter(attempt, self._policy.queue_for(delay_s))
        while True:
            try:
                return await self._publisher.publish(letter)
            except Unavailable as error:
                if attempt.gone.is_set():
                    raise Abandoned from error
                _log.warning("a delayed retry is not taken", code=error.code)
            await asyncio.sleep(_PAUSE_S)

    def _letter(self, attempt: Attempt, delay: str) -> OutgoingMessage:
        delivery = attempt.delivery
        return OutgoingMessage(
            retry_exchange(self._service, delay),
            delivery.queue,
            delivery.message_id,
            delivery.body,
            correlation_id=delivery.correlation_id,
            reply_to=delivery.reply_to,
            timestamp=delivery.timestamp,
            headers=carried_on(
                delivery.headers,
                {FIRST_EXCHANGE: delivery.exchange, FIRST_ROUTING_KEY: delivery.routing_key},
            ),
        )


def carried_on(headers: Mapping[str, object], more: Mapping[str, str | int]) -> FieldTable:
    """The sender's headers without the broker's own, and ours."""
    kept = {
        name: value
        for name, value in headers.items()
        if name.lower() not in _BROKERS
        and not name.lower().startswith(("x-first-death", "x-last-death"))
    }
    return cast("FieldTable", {**kept, **more})
