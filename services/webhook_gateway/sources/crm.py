"""Webhooks of CRM: callbacks of notification channels, and workflow webhooks."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Any

import orjson

from services.webhook_gateway.requests.bodies import form_of, object_of
from services.webhook_gateway.requests.refusals import Unauthentic
from services.webhook_gateway.requests.times import moment
from services.webhook_gateway.requests.webhook_request import WebhookEvent, WebhookRequest
from services.webhook_gateway.sources.event_names import CRM_OPERATIONS, WORKFLOW
from shared.contracts.webhooks import Product, event_name

WORKFLOW_HEADER = "X-Webhook-Secret"


class CrmSource:
    """Neither kind is signed: a channel echoes the token that it was opened with, a workflow
    webhook sends a header that an administrator set. Bodies name records and prove nothing.

    Source: https://www.zoho.com/crm/developer/docs/api/v8/notifications/overview.html
    """

    product: Product = "crm"

    def __init__(
        self, *, channel_tokens: Sequence[bytes], workflow_secrets: Sequence[bytes]
    ) -> None:
        self._channel_tokens = channel_tokens
        self._workflow_secrets = workflow_secrets

    async def read(self, post: WebhookRequest) -> list[WebhookEvent]:
        given = post.headers.get(WORKFLOW_HEADER)
        if given is not None:
            _demand(given, self._workflow_secrets)
            return [_workflow(post)]
        payload = object_of(post.body, form_of(post.headers.get("Content-Type", ""), post.body))
        _demand(payload.get("token"), self._channel_tokens)
        return [_notification(payload)]


def _workflow(post: WebhookRequest) -> WebhookEvent:
    payload = object_of(post.body, form_of(post.headers.get("Content-Type", ""), post.body))
    return WebhookEvent(event=WORKFLOW, known=True, raw=post.body, payload=payload)


def _notification(payload: dict[str, Any]) -> WebhookEvent:
    # Without the secrets: the token, and what was put into the channel's URL and comes back here.
    shown = {name: payload[name] for name in payload if name not in ("token", "query_params")}
    operation = str(payload.get("operation") or "")
    return WebhookEvent(
        event=event_name(f"{payload.get('module') or ''}_{operation}"),
        known=operation in CRM_OPERATIONS,
        raw=orjson.dumps(shown),
        payload=shown,
        event_time=moment(payload.get("server_time")),
    )


def _demand(given: object, accepted: Sequence[bytes]) -> None:
    """Raise Unauthentic unless it is one of the accepted secrets, in constant time."""
    text = given.encode("utf-8", "replace") if isinstance(given, str) else b""
    if not any(hmac.compare_digest(text, each) for each in accepted):
        raise Unauthentic("neither the channel's token nor the webhook's secret is one of ours")
