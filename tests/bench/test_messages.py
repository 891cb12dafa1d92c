"""Measure the worker's whole path per message against a loop written by hand."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from deploy.local.stack import Stack
from tests.bench.__main__ import AT_LEAST, FLOOR, compare, show
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


def test_a_message_costs_less_than_by_hand(servers: dict[str, str]) -> None:
    medians = compare(RUNS, COUNT, servers)
    print(show(medians))
    assert medians["baseline"] / medians["bare"] >= FLOOR
    assert medians["ours"] / medians["baseline"] >= AT_LEAST
