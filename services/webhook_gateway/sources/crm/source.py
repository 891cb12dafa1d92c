"""Read CRM's webhooks: callbacks of notification channels, and workflow webhooks."""

from __future__ import annotations

from typing import Any, Final, Self

from services.webhook_gateway.requests.bodies import form_of, object_of, packed
from services.webhook_gateway.requests.times import moment
from services.webhook_gateway.requests.webhook_request import WebhookEvent, WebhookRequest
from services.webhook_gateway.signatures.crm import WORKFLOW_HEADER, CrmSecrets
from services.webhook_gateway.sources.crm.settings import CrmWebhookSettings
from services.webhook_gateway.sources.secrets import bytes_of
from shared.contracts.webhooks import Product, event_name

# Channels name the operation only. The module is the one that the channel watches.
_OPERATIONS: Final = frozenset({"insert", "update", "delete"})
_WORKFLOW: Final = "workflow"


class CrmSource:
    """Reads both kinds. Their bodies name records and prove nothing."""

    product: Product = "crm"
    answers_get = False

    @classmethod
    def of(cls, settings: CrmWebhookSettings) -> Self:
        return cls(
            CrmSecrets(
                channel_tokens=bytes_of(settings.zoho_crm_channel_token),
                workflow_secrets=bytes_of(settings.zoho_crm_webhook_secret),
            )
        )

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
    return WebhookEvent(event=_WORKFLOW, known=True, raw=body, payload=payload)


def _notification(payload: dict[str, Any]) -> WebhookEvent:
    # Without the secrets: the token, and the parameters of the channel's URL, which come back here.
    shown = {name: payload[name] for name in payload if name not in ("token", "query_params")}
    operation = str(payload.get("operation") or "")
    return WebhookEvent(
        event=event_name(f"{payload.get('module') or ''}_{operation}"),
        known=operation in _OPERATIONS,
        raw=packed(shown),
        payload=shown,
        event_time=moment(payload.get("server_time")),
    )
