"""A request as it came in, and the events that were found in it. Free of the web framework."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from shared.contracts.webhooks import Product


class WebhookRequest(NamedTuple):
    """`query` is the raw query string: signatures are over what was sent, not over what we make
    of it. Header names compare without case."""

    org: str
    query: str
    headers: Mapping[str, str]
    body: bytes


class WebhookEvent(NamedTuple):
    """One event, authentic.

    Attributes:
        event: our name of it, fit for a routing key.
        known: whether that name is one that Zoho documents. Others are stored and passed on too.
        raw: as it came. Digested, not kept.
        payload: the same, as an object: what is passed on and kept.
        identity: what only this event has, where there is such a thing. Without one, the event is
            told from others by `raw`.
        event_id, event_time: Zoho's, where it gave them.
    """

    event: str
    known: bool
    raw: bytes
    payload: dict[str, Any]
    identity: str | None = None
    event_id: str | None = None
    event_time: datetime | None = None


class WebhookSource(Protocol):
    """The form and the authentication of a product's webhooks."""

    product: Product

    async def read(self, post: WebhookRequest) -> list[WebhookEvent]:
        """The events of a post. Empty when it announces nothing (a handshake).

        Raises:
            Unauthentic: it does not come from Zoho.
            Malformed: it does, and cannot be read.
            Unavailable: it cannot be decided now.
        """
