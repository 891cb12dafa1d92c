"""Send the webhooks of Books' workflow rules: the bare record as body, and no event type.

Source: https://www.zoho.com/books/api/v3/webhooks/.
"""

from __future__ import annotations

import orjson

from services.zoho_sandbox.finance.dialect import shown
from services.zoho_sandbox.server.tables import Record
from services.zoho_sandbox.server.webhook_delivery import signature
from services.zoho_sandbox.server.world import World


def announce(world: World, entity: str, record: Record) -> None:
    """Send `{organization_id, <entity>: {…}}` to every webhook target of Books."""
    organization_id = world.settings.books_organization
    body = orjson.dumps({"organization_id": organization_id, entity: shown(record)})
    for target in world.webhooks.targets("books"):
        headers = {"Content-Type": "application/json"}
        if target.secret:
            headers["X-Zoho-Webhook-Signature"] = signature(target.secret, target.url, [], body)
        world.webhooks.send("books", target.url, body, headers, event_type=entity)
