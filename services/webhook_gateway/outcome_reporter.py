"""Report requests as metrics and log lines.

Webhooks that were stored together are reported together, after all were answered. In a burst one
line reports many webhooks, at a fraction of a line's cost for each.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import structlog
from prometheus_client import Counter, Histogram

from shared.contracts.webhooks import Product
from shared.observability.metrics import Metrics

OutcomeKey = TypeVar("OutcomeKey")
Metric = TypeVar("Metric")


class EventOutcome(NamedTuple):
    """The outcome of one event, or of a request that held none.

    `event` is our name, of a fixed set of characters. Nothing here is of the body.
    """

    outcome: str
    event: str = ""
    webhook_id: str = ""


class RequestOutcome(NamedTuple):
    """The outcome of one request. `org` is one of ours, or empty."""

    org: str
    events: list[EventOutcome]
    duration_s: float
    status: int


class _Alike(NamedTuple):
    """The fields that the events of one log line have in common."""

    org: str
    outcome: str
    status: int
    event: str


class _Series(dict[OutcomeKey, Metric]):
    """Time series by labels, looked up once: that is slow in prometheus_client."""

    def __init__(self, find: Callable[[OutcomeKey], Metric]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, key: OutcomeKey) -> Metric:
        self[key] = series = self._find(key)
        return series


class OutcomeReporter:
    """Reports how the requests of one product ended."""

    def __init__(self, product: Product, metrics: Metrics) -> None:
        self._durations: _Series[str, Histogram] = _Series(
            lambda org: metrics.webhook_accept.labels(product=product, org=org)
        )
        self._counts: _Series[tuple[str, str], Counter] = _Series(
            lambda outcome_org: metrics.webhooks_received.labels(
                product=product, outcome=outcome_org[0], org=outcome_org[1]
            )
        )
        self._pending: list[RequestOutcome] = []
        self._log = structlog.get_logger().bind(product=product)

    def report_soon(self, outcome: RequestOutcome) -> None:
        """Report it with all the others that end in this turn of the event loop."""
        self._pending.append(outcome)
        if len(self._pending) == 1:
            asyncio.get_running_loop().call_soon(self._report)

    def _report(self) -> None:
        pending, self._pending = self._pending, []
        alike: defaultdict[_Alike, list[tuple[str, float]]] = defaultdict(list)
        for org, events, duration_s, status in pending:
            self._durations[org].observe(duration_s)
            for outcome, event, webhook_id in events:
                alike[_Alike(org, outcome, status, event)].append((webhook_id, duration_s))
        for common, webhooks in alike.items():
            self._counts[common.outcome, common.org].inc(len(webhooks))
            self._write(common, webhooks)

    def _write(self, common: _Alike, webhooks: list[tuple[str, float]]) -> None:
        log = self._log.bind(
            org=common.org, outcome=common.outcome, status=common.status, event_name=common.event
        )
        slowest_ms = round(max(duration_s for _, duration_s in webhooks) * 1000, 1)
        if len(webhooks) == 1:
            log.info("webhook received", correlation_id=webhooks[0][0], duration_ms=slowest_ms)
        else:
            log.info(
                "webhooks received",
                count=len(webhooks),
                correlation_ids=[webhook_id for webhook_id, _ in webhooks if webhook_id],
                slowest_ms=slowest_ms,
            )
