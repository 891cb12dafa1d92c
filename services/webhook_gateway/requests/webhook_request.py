"""Define a webhook request and the events in it, without the web framework."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from shared.contracts.webhooks import Product


class WebhookRequest(NamedTuple):
    """A request as received.

    `query` is the raw query string, because signatures cover the bytes sent. Header names compare
    without case.
    """

    org: str
    query: str
    headers: Mapping[str, str]
    body: bytes


class WebhookEvent(NamedTuple):
    """One authentic event.

    Attributes:
        event: our name of it, fit for a routing key.
        known: whether Zoho documents that name. Others are stored and passed on too.
        raw: as received. Digested, not kept.
        payload: the same as an object, which is passed on and kept.
        identity: a text that only this event has, where there is one. Without it, events are
            distinguished by `raw`.
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
    """Reads and authenticates a product's webhooks."""

    product: Product
    answers_get: bool  # Zoho tries the URL with a GET before it accepts it

    async def read(self, request: WebhookRequest) -> list[WebhookEvent]:
        """Return the events of a request. Empty when it holds none (a handshake).

        Raises:
            Unauthentic: it does not come from Zoho.
            Malformed: it does, and cannot be read.
            Unavailable: its signature cannot be checked now.
        """
