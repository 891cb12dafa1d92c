"""Acknowledge and count CRM's webhooks."""

from __future__ import annotations

from shared.contracts.webhooks import WebhookReceived
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.observability.metrics import Metrics


async def acknowledge(message: WebhookReceived, work: UnitOfWork, *, metrics: Metrics) -> None:
    """Kept at the door and counted: without a queue that takes it, it would wait there for ever."""
    metrics.webhooks_received.labels(
        product=message.product, outcome="unknown_event", org=message.org
    ).inc()
