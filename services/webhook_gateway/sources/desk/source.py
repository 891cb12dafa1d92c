"""Read Desk's webhooks: an array of events per request."""

from __future__ import annotations

from typing import Any, Self

import aiohttp

from services.webhook_gateway.requests.bodies import packed, parse_json
from services.webhook_gateway.requests.times import moment
from services.webhook_gateway.requests.webhook_request import WebhookEvent, WebhookRequest
from services.webhook_gateway.signatures.desk import HEADER, DeskSignatures
from services.webhook_gateway.signatures.desk_keys import DeskKeys
from services.webhook_gateway.sources.desk.event_names import DESK
from services.webhook_gateway.sources.desk.settings import DeskWebhookSettings
from shared.contracts.webhooks import Product, event_name


class DeskSource:
    """Reads arrays of events, signed as a whole by a JWT that does not cover the body.

    When a webhook is set up, Desk tries its URL with a GET, then with a POST without events. Both
    come without a signature and must be answered 200. A 410 would delete the subscription.
    Source: https://desk.zoho.com/support/WebhookDocument.do
    """

    product: Product = "desk"
    answers_get = True

    @classmethod
    def of(cls, settings: DeskWebhookSettings, session: aiohttp.ClientSession) -> Self:
        return cls(
            DeskSignatures(
                DeskKeys(session, settings.desk_keys_url),
                org_id=settings.zoho_desk_org_id or "",
                webhook_ids=settings.zoho_desk_webhook_id if settings.zoho_desk_org_id else (),
            )
        )

    def __init__(self, signatures: DeskSignatures) -> None:
        self._signatures = signatures

    async def read(self, request: WebhookRequest) -> list[WebhookEvent]:
        events = _events(request.body)
        if events:
            await self._signatures.verify(request.headers.get(HEADER, ""))
        return [_event(event) for event in events]


def _events(body: bytes) -> list[dict[str, Any]]:
    if not body.strip():
        return []
    posted = parse_json(body)
    events = posted if isinstance(posted, list) else [posted]
    return [event for event in events if isinstance(event, dict) and event.get("eventType")]


def _event(event: dict[str, Any]) -> WebhookEvent:
    name = event_name(str(event["eventType"]))
    return WebhookEvent(
        event=name,
        known=name in DESK,
        raw=packed(event),
        payload=event,
        identity=_identity(event),
        event_time=moment(event.get("eventTime")),
    )


def _identity(event: dict[str, Any]) -> str | None:
    """Identify an event by its record, its type and its time: Desk gives no event an id."""
    record = event.get("payload")
    if not isinstance(record, dict) or not record.get("id"):
        return None
    time = event.get("eventTime") or record.get("modifiedTime")
    if not time:
        return None
    parts = (event.get("orgId"), event["eventType"], record["id"], time)
    return packed([str(part) for part in parts]).decode()
