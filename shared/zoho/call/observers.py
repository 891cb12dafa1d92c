"""Log and measure calls to Zoho."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import structlog

from shared.observability.metrics import Metrics
from shared.zoho.call.operation import Called
from shared.zoho.quota.quota import Decision

_log = structlog.get_logger()


@dataclass
class CallCount:
    count: int = 0


_counted: ContextVar[CallCount | None] = ContextVar("counted calls", default=None)


@contextmanager
def counting_calls() -> Iterator[CallCount]:
    """Count the calls that the present task makes inside. `count_call` has to observe them."""
    calls = CallCount()
    token = _counted.set(calls)
    try:
        yield calls
    finally:
        _counted.reset(token)


def count_call(_called: Called) -> None:
    calls = _counted.get()
    if calls is not None:
        calls.count += 1


def log_call(called: Called) -> None:
    """One line per try. The correlation id is bound to the task."""
    _log.info(
        "zoho called",
        org=called.org,
        product=called.product,
        operation=called.operation,
        outcome=called.outcome,
        status=called.status,
        zoho_code=called.zoho_code,
        duration_ms=round(called.duration_s * 1000),
        attempt=called.attempt,
        quota_left=called.quota_left,
    )


class ZohoMetrics:
    """Keeps the metrics about Zoho. Its methods are observers of the parts."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def called(self, called: Called) -> None:
        labels = {"org": called.org, "product": called.product, "operation": called.operation}
        self._metrics.zoho_api_requests.labels(**labels, outcome=called.outcome).inc()
        self._metrics.zoho_api_request_duration.labels(**labels).observe(called.duration_s)

    def decided(self, decision: Decision) -> None:
        call = decision.call
        waited = self._metrics.zoho_quota_wait.labels(lane=call.priority.value, org=call.org)
        waited.observe(decision.waited_s)
        for window, left in (("minute", decision.calls_left), ("day", decision.credits_left)):
            if left is not None:
                self._metrics.zoho_quota_remaining.labels(
                    org=call.org, product=call.product, window=window
                ).set(left)

    def forecast(self, org: str, product: str, exhausted_in_s: float) -> None:
        self._metrics.zoho_quota_exhausted_in.labels(org=org, product=product).set(exhausted_in_s)

    def breaker(self, org: str, product: str, cause: str, is_open: bool) -> None:
        self._metrics.zoho_breaker_open.labels(org=org, product=product, cause=cause).set(is_open)

    def token_fetched(self, org: str, expires_in_s: float) -> None:
        self._metrics.zoho_token_expires_in.labels(org=org).set(expires_in_s)
