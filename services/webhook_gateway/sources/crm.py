"""Read CRM's webhooks: callbacks of notification channels, and workflow webhooks."""

from __future__ import annotations

from typing import Any

import orjson

from services.webhook_gateway.requests.bodies import form_of, object_of
from services.webhook_gateway.requests.times import moment
from services.webhook_gateway.requests.webhook_request import WebhookEvent, WebhookRequest
from services.webhook_gateway.signatures.crm import WORKFLOW_HEADER, CrmSecrets
from services.webhook_gateway.sources.event_names import CRM_OPERATIONS, WORKFLOW
from shared.contracts.webhooks import Product, event_name


class CrmSource:
    """Reads both kinds. Their bodies name records and prove nothing."""

    product: Product = "crm"

    def __init__(self, secrets: CrmSecrets) -> None:
        self._secrets = secrets

    async def read(self, request: WebhookRequest) -> list[WebhookEvent]:
        secret = request.headers.get(WORKFLOW_HEADER)
        if secret is not None:
            self._secrets.verify_workflow_secret(secret)
            return [_workflow(_payload(request), request.body)]
        payload = _payload(request)
        self._secrets.verify_channel_token(payload.get("token"))
        return [_notification(payload)]


def _payload(request: WebhookRequest) -> dict[str, Any]:
    form = form_of(request.headers.get("Content-Type", ""), request.body)
    return object_of(request.body, form)


def _workflow(payload: dict[str, Any], body: bytes) -> WebhookEvent:
    return WebhookEvent(event=WORKFLOW, known=True, raw=body, payload=payload)


def _notification(payload: dict[str, Any]) -> WebhookEvent:
    # Without the secrets: the token, and the parameters of the channel's URL, which come back here.
    shown = {name: payload[name] for name in payload if name not in ("token", "query_params")}
    operation = str(payload.get("operation") or "")
    return WebhookEvent(
        event=event_name(f"{payload.get('module') or ''}_{operation}"),
        known=operation in CRM_OPERATIONS,
        raw=orjson.dumps(shown),
        payload=shown,
        event_time=moment(payload.get("server_time")),
    )
