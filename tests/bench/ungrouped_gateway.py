"""Run the gateway with one INSERT for each webhook instead of one for all that wait.

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
    def submit(self, org: str, product: Product, event: WebhookEvent) -> asyncio.Future[Accepted]:
        self._load.count()
        return asyncio.ensure_future(self._alone(QueuedWebhook(org, product, event)))

    async def _alone(self, queued: QueuedWebhook) -> Accepted:
        [accepted] = await self._store([queued])
        return accepted


if __name__ == "__main__":
    app.WebhookIngest = OneInsertEach  # type: ignore[attr-defined]
    runtime.run("webhook-gateway", Settings.load, app.main)
