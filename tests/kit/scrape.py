"""Read the metrics that the services expose on `/metrics`."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Iterator
from itertools import takewhile

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from deploy.local.plan import SERVICES
from deploy.local.stack import Stack
from tests.kit.whole_system import REPLICAS


def metrics_text(stack: Stack, service: str) -> str:
    """The page of the first replica."""
    url = _url(stack, service)
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310
        return str(answer.read().decode())


def samples(stack: Stack, service: str, name: str, **labels: str) -> Iterator[Sample]:
    """The samples of this name that have these labels."""
    for family in text_string_to_metric_families(metrics_text(stack, service)):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                yield sample


def total(stack: Stack, service: str, name: str, **labels: str) -> float:
    return sum(sample.value for sample in samples(stack, service, name, **labels))


class Settlements:
    """Counts what became of messages since it was made.

    settlements = Settlements(stack)
    await settlements.until("crm-worker", "user.updated.v1", "done")
    """

    def __init__(self, stack: Stack, *services: str) -> None:
        self._stack = stack
        self._before = {
            (service, sample.labels["routing_key"], sample.labels["settlement"]): sample.value
            for service in services
            for sample in samples(stack, service, "messages_settled_total")
        }

    async def until(
        self, service: str, routing_key: str, settlement: str, *, count: int = 1
    ) -> None:
        """Return once `count` messages were settled so. Raises TimeoutError."""
        settled: dict[str, float] = {}
        try:
            async with asyncio.timeout(60):
                while settled.get(settlement, 0.0) < count:
                    await asyncio.sleep(0.05)
                    settled = self._since(service, routing_key)
        except TimeoutError:
            raise TimeoutError(
                f"{routing_key} was not settled as {settlement}, but: {settled}. Its code is in"
                " command.failed.v1 and in the log of the service"
            ) from None

    def _since(self, service: str, routing_key: str) -> dict[str, float]:
        """How many messages of this key were settled since, by settlement."""
        return {
            sample.labels["settlement"]: sample.value
            - self._before.get((service, routing_key, sample.labels["settlement"]), 0.0)
            for sample in samples(
                self._stack, service, "messages_settled_total", routing_key=routing_key
            )
        }


def _url(stack: Stack, service: str) -> str:
    """METRICS_URLS name the replicas of each service, in the order of the services."""
    before = takewhile(lambda name: name != service, SERVICES)
    return stack.env["METRICS_URLS"].split(",")[sum(REPLICAS.get(name, 1) for name in before)]
