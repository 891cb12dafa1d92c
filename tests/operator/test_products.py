"""Test that operators see which product is paused, why, until when, and who waits for quota."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import pytest

from shared.messaging.dispatch.reservations import ClosedProduct, Pause
from shared.messaging.handling.routes import MessagePriority
from shared.observability.health import Health
from shared.observability.metrics import Metrics
from shared.pause_gauges import PauseGauges
from tests.operator.conftest import Desk

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def paused(product: str, cause: str, wait_s: float, *priorities: MessagePriority) -> list[Pause]:
    return [
        Pause(ClosedProduct("default", product, int(priority)), cause, wait_s)
        for priority in priorities or MessagePriority
    ]


class Replica:
    """A worker as an operator reaches it."""

    def __init__(self, service: str, products: set[str]) -> None:
        self.metrics = Metrics(service)
        self.health = Health(self.metrics, host="127.0.0.1", port=0)
        self._gauges = PauseGauges(self.metrics, service, "default", products, clock=NOON.timestamp)
        self._gauges.show([])

    def show(self, *pauses: list[Pause]) -> None:
        self._gauges.show([pause for group in pauses for pause in group])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.health.port}/metrics"


@pytest.fixture
async def replica() -> AsyncIterator[Replica]:
    async with AsyncExitStack() as stack:
        worker = Replica("billing-worker", {"billing", "books"})
        await stack.enter_async_context(worker.health)
        yield worker


async def test_each_product_is_shown_with_why_and_until_when(desk: Desk, replica: Replica) -> None:
    replica.show(
        paused("billing", "disabled_user", 300),
        paused("books", "minute", 30, MessagePriority.COMMANDS, MessagePriority.READS),
    )

    rows = (await desk.ask("products", "--json", METRICS_URLS=replica.url)).rows

    columns = ("product", "service", "state", "cause", "priorities", "until")
    assert [tuple(row[name] for name in columns) for row in rows] == [
        (
            *("billing", "billing-worker", "paused", "disabled_user"),
            *("payments, commands, reads, backfill", "2026-05-01 12:05:00"),
        ),
        (
            *("books", "billing-worker", "waits for quota", "minute"),
            *("commands, reads", "2026-05-01 12:00:30"),
        ),
    ]
    assert "disabled" in rows[0]["why"]


async def test_a_pause_that_is_over_is_shown_no_more(desk: Desk, replica: Replica) -> None:
    replica.show(paused("billing", "outage", 300))
    replica.show()

    rows = (await desk.ask("products", "--json", METRICS_URLS=replica.url)).rows

    assert [(row["product"], row["state"], row["until"]) for row in rows] == [
        ("billing", "open", ""),
        ("books", "open", ""),
    ]


async def test_what_one_operation_lacks_is_shown(desk: Desk, replica: Replica) -> None:
    replica.metrics.zoho_breaker_open.labels("default", "books", "scope").set(1)

    rows = (await desk.ask("products", "--json", METRICS_URLS=replica.url)).rows

    assert [(row["product"], row["state"], row["cause"]) for row in rows] == [
        ("billing", "open", ""),
        ("books", "open but for one operation", "scope"),
    ]


async def test_a_worker_without_an_answer_is_named(desk: Desk, replica: Replica) -> None:
    nobody = "http://127.0.0.1:1/metrics"

    output = await desk.ask("products", METRICS_URLS=f"{nobody},{replica.url}")
    unset = await desk.ask("products")

    assert (output.code, unset.code) == (1, 2)
    assert f"No answer from {nobody}" in output.err
    assert "books" in output.out
    assert "METRICS_URLS" in unset.err


async def test_the_doctor_tells_a_pause_from_a_wait_for_quota(desk: Desk, replica: Replica) -> None:
    replica.show(paused("billing", "outage", 300), paused("books", "day", 3600))

    rows = (await desk.ask("doctor", "--json", METRICS_URLS=replica.url)).rows

    found = {row["check"]: row for row in rows if row["area"] == "products"}
    assert found["billing in billing-worker"]["state"] == "wrong"
    assert "until 2026-05-01 12:05:00 UTC" in found["billing in billing-worker"]["found"]
    assert found["books in billing-worker"]["state"] == "ok"
    assert "wait for quota until" in found["books in billing-worker"]["found"]


def value(metrics: Metrics) -> Callable[..., float | None]:
    def of(**labels: str) -> float | None:
        labels = {"org": "default", "service": "billing-worker", **labels}
        return metrics.registry.get_sample_value("product_paused", labels)

    return of


def test_the_longest_cause_is_named_for_each_priority(replica_metrics: Metrics) -> None:
    gauges = PauseGauges(
        replica_metrics, "billing-worker", "default", {"billing"}, clock=NOON.timestamp
    )
    gauges.show(
        paused("billing", "minute", 10, MessagePriority.COMMANDS) + paused("billing", "outage", 60)
    )

    until = {
        "org": "default",
        "service": "billing-worker",
        "product": "billing",
        "priority": "commands",
    }
    sample = replica_metrics.registry.get_sample_value
    name = "product_closed_until_seconds"
    assert sample(name, {**until, "cause": "outage"}) == NOON.timestamp() + 60
    assert sample(name, {**until, "cause": "minute"}) is None
    paused_by = value(replica_metrics)
    assert paused_by(product="billing", cause="outage") == 1
    gauges.show([])
    assert paused_by(product="billing", cause="outage") == 0


@pytest.fixture
def replica_metrics() -> Metrics:
    return Metrics("billing-worker")
