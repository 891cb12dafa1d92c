"""The gateway, but for one thing: one INSERT for each webhook instead of one for all that wait.

The inserts go side by side, as many as the pool has connections. `python -m
tests.bench.ungrouped_gateway`, with the settings of webhook-gateway.
"""

from __future__ import annotations

import asyncio

from services.webhook_gateway import app
from services.webhook_gateway.ingest import Accepted, QueuedWebhook, WebhookIngest
from services.webhook_gateway.requests.webhook_request import WebhookEvent
from services.webhook_gateway.settings import Settings
from shared import runtime
from shared.contracts.webhooks import Product


class OneInsertEach(WebhookIngest):
    def begin(self, org: str, product: Product, incoming: WebhookEvent) -> asyncio.Future[Accepted]:
        self._pressure.count()
        return asyncio.ensure_future(self._alone(QueuedWebhook(org, product, incoming)))

    async def _alone(self, waiting: QueuedWebhook) -> Accepted:
        [accepted] = await self._store([waiting])
        return accepted


if __name__ == "__main__":
    app.WebhookIngest = OneInsertEach  # type: ignore[attr-defined]
    runtime.run("webhook-gateway", Settings.load, app.main)
