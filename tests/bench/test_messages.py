"""Measure the worker's whole path per message against a loop written by hand."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from deploy.local.stack import Stack
from tests.bench.__main__ import AIM, AT_LEAST, FLOOR, compare
from tests.bench.figures import Figure, Figures
from tests.kit.servers import TEST_STACK

pytestmark = pytest.mark.bench

RUNS, COUNT = 5, 3000


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Servers that sync to disk, as production's do: those of the other tests need not."""
    if "BENCH_AMQP_URL" in os.environ:
        yield dict(os.environ)
        return
    folder = TEST_STACK.parent / "bench"
    stack = Stack(folder, services={}, sandbox=False)
    stack.start()
    try:
        yield {
            **os.environ,
            "BENCH_AMQP_URL": stack.env["AMQP_URL"],
            "BENCH_DATABASE_URL": stack.env["DATABASE_URL"],
        }
    finally:
        stack.stop()


def test_a_message_costs_less_than_by_hand(servers: dict[str, str], figures: Figures) -> None:
    medians = compare(RUNS, COUNT, servers, show=figures.show)
    for name, rate in medians.items():
        figures.add(Figure(f"messages, {name}", rate, "/s"))
    floor = medians["baseline"] / medians["bare"]
    figures.add(
        Figure("messages, baseline of bare", floor, "times", at_least=FLOOR, warn_only=True)
    )
    ratio = medians["ours"] / medians["baseline"]
    figures.add(Figure("messages, ours of baseline", ratio, "times", at_least=AT_LEAST, aim=AIM))
