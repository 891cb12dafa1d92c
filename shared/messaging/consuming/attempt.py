"""One try at one delivery, as it goes through the chain of middleware."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import reduce

from pydantic import BaseModel

from shared.messaging.handling.routes import QueueConfig, Route
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.messaging.inbox.inbox import Claim, IdempotencyKey
from shared.messaging.messages.delivery import Delivery


class Abandoned(Exception):
    """The delivery is no longer ours to settle: its channel is gone, or the service stops.

    It is not acknowledged, so the broker gives it to somebody else.
    """


@dataclass(slots=True)
class Attempt:
    """Filled in from the outside in: body and message when parsed, claim when claimed.

    `send_back` is set when the queue pauses or the service stops: what merely waits goes back.
    `gone` is set when the channel that delivered it is lost: it will come again by another.
    """

    delivery: Delivery
    lane: QueueConfig
    send_back: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    body: bytes = b""
    route: Route | None = None
    message: BaseModel | None = None
    claim: Claim | None = None
    work: UnitOfWork | None = None
    error: Exception | None = None

    @property
    def key(self) -> IdempotencyKey:
        return IdempotencyKey(
            self.delivery.org, self.delivery.routing_key, self.delivery.message_id
        )

    @property
    def number(self) -> int:
        """1 at the first attempt; counted when claimed."""
        return self.claim.attempt if self.claim else 1


Handler = Callable[[Attempt], Awaitable[None]]
Middleware = Callable[[Handler], Handler]


def compose(handler: Handler, *middleware: Middleware) -> Handler:
    """Wrap the handler; the first middleware is the outermost."""
    return reduce(lambda inner, wrap: wrap(inner), reversed(middleware), handler)
