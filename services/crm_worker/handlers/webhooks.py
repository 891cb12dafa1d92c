"""Acknowledge and count CRM's webhooks."""

from __future__ import annotations

from shared.contracts.webhooks import WebhookReceived
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.observability.metrics import Metrics


async def acknowledge(message: WebhookReceived, work: UnitOfWork, *, metrics: Metrics) -> None:
    """Count it. Without a queue that takes it, the gateway would keep it waiting for ever."""
    metrics.webhooks_received.labels(
        product=message.product, outcome="unknown_event", org=message.org
    ).inc()
