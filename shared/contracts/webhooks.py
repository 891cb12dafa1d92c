"""Define what the gateway passes on to the workers of what Zoho posted."""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from shared.contracts.fields import Id, Instant

Product = Literal["billing", "books", "crm", "desk"]

# Our names for what Zoho calls otherwise.
# Source: event names of Zoho Billing's webhooks, docs/zoho/finance.md §3.1.
_OUR_NAMES = {"payment_thankyou": "payment_succeeded", "payment_declined": "payment_failed"}
_NOT_IN_A_NAME = re.compile(r"[^a-z0-9]+")


@lru_cache(maxsize=1024)  # Zoho has a few dozen
def event_name(raw: str) -> str:
    """Return a name fit for a routing key: `Ticket_Update` gives `ticket_update`.

    Both spellings of an event give one name, at most 100 characters long. It is `unknown` when
    nothing usable is left.
    """
    name = _NOT_IN_A_NAME.sub("_", raw.strip().lower()).strip("_")[:100]
    return _OUR_NAMES.get(name, name) or "unknown"


class WebhookReceived(BaseModel):
    """One event that Zoho reported: authentic, stored, not yet acted on.

    `payload` is as Zoho sent it (an element of the array for Desk, form fields as an object).
    `event_id` and `event_time` are Zoho's, where it gave them. `webhook_id` is ours, and the AMQP
    message id too. The event is a hint. The state comes from a read.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    webhook_id: Id
    org: Id = "default"
    product: Product
    event: str
    event_id: str | None = None
    event_time: datetime | None = None
    received_at: Instant
    payload: dict[str, Any]

    @property
    def routing_key(self) -> str:
        return f"{self.product}.{self.event}.v1"
