"""What is told about each delivery: logs, metrics and tests are observers of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from shared.messaging.handling.routes import QueueConfig
from shared.messaging.handling.settlement import (
    Ack,
    DeadLetter,
    Pause,
    Postpone,
    Reconcile,
    Retry,
    Settlement,
)
from shared.messaging.messages.delivery import Delivery
from shared.observability import logs
from shared.observability.metrics import Metrics

_log = structlog.get_logger(__name__)

_LABELS: Final = {
    Ack: "ack",
    Postpone: "postpone",
    Retry: "retry",
    Pause: "pause",
    Reconcile: "look",
    DeadLetter: "dead_letter",
}


@dataclass(frozen=True, slots=True)
class Settled:
    """One delivery and what became of it. `error` is what the handler raised, if it did."""

    delivery: Delivery
    settlement: Settlement
    duration_s: float
    error: Exception | None = None


SettlementObserver = Callable[[Settled], None]


def label_of(settlement: Settlement) -> str:
    """`DeadLetter` → `dead_letter`."""
    return _LABELS[type(settlement)]


def log_settled(settled: Settled) -> None:
    """One line per delivery; loud where somebody has to look."""
    delivery, settlement = settled.delivery, settled.settlement
    values = {
        "org": delivery.org,
        "queue": delivery.queue,
        "routing_key": delivery.routing_key,
        "message_id": delivery.message_id,
        "settlement": label_of(settlement),
        "duration_s": round(settled.duration_s, 4),
    }
    if settled.error is not None:
        values |= logs.describe(settled.error)
    match settlement:
        case Ack():
            _log.debug("message settled", **values)
        case Postpone():
            values.pop("trace", None)
            _log.info("message settled", **values)
        case Retry() | DeadLetter():
            _log.warning("message settled", **values)
        case Pause():
            _log.error("message settled", **values)
        case _:
            _log.info("message settled", **values)


def count_settled(metrics: Metrics, lanes: Sequence[QueueConfig]) -> SettlementObserver:
    """Metrics of each delivery, labelled with the key in the table of routes.

    What has no route is `unknown`: its key is the sender's text, and a series each would be
    without bound.
    """
    by_name = {lane.name: lane for lane in lanes}

    def observe(settled: Settled) -> None:
        delivery = settled.delivery
        key = by_name[delivery.lane].key_of(delivery.routing_key) or "unknown"
        labels = (delivery.org, delivery.queue, key)
        metrics.messages_settled.labels(*labels, label_of(settled.settlement)).inc()
        metrics.message_handling.labels(*labels).observe(settled.duration_s)
        if isinstance(settled.settlement, DeadLetter):
            metrics.dead_letters.labels(
                org=delivery.org, queue=delivery.queue, code=settled.settlement.code
            ).inc()

    return observe
