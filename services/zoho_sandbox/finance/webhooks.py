"""Send the webhooks of Billing and Books, by both of Zoho's mechanisms.

An event webhook (Billing alone) names its event. A workflow webhook (`mechanism: workflow`, always
in Books) has the bare record as body, and no event type.
Source: https://www.zoho.com/billing/kb/webhooks/webhooks.html and
https://www.zoho.com/books/kb/automation/create-webhook.html.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import orjson

from services.zoho_sandbox.finance.dialect import shown
from services.zoho_sandbox.server.tables import Record
from services.zoho_sandbox.server.webhook_delivery import Target, signature
from services.zoho_sandbox.server.world import World


def announce_record(world: World, product: str, entity: str, record: Record) -> None:
    """Send `{organization_id, <entity>: {…}}` to every workflow target of the product."""
    settings = world.settings
    is_books = product == "books"
    organization_id = settings.books_organization if is_books else settings.organization_id
    body = {"organization_id": organization_id, entity: shown(record)}
    for target in world.webhooks.targets(product):
        if is_books or uses_workflow(target):
            post(world, product, target, body, event_type=entity)


def uses_workflow(target: Target) -> bool:
    """Return whether a target of Billing gets bare records instead of events."""
    return target.options.get("mechanism") == "workflow"


def post(
    world: World,
    product: str,
    target: Target,
    content: dict[str, Any],
    *,
    event_type: str,
    event_id: str = "",
) -> None:
    """Post as JSON, or to a target with `format: form` as the older form field `JSONString`."""
    body = orjson.dumps(content)
    headers = {"Content-Type": "application/json"}
    signed = body
    form: list[tuple[str, str]] = []
    if target.options.get("format") == "form":
        form, signed = [("JSONString", body.decode())], b""
        body = urlencode(form).encode()
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    if target.secret:
        headers["X-Zoho-Webhook-Signature"] = signature(target.secret, target.url, form, signed)
    world.webhooks.send(
        product, target.url, body, headers, event_type=event_type, event_id=event_id
    )
