"""Webhook acceptance: the gateway against a server that does one INSERT each.

64 connections, each sending its next webhook when the last was answered. Alternating, medians of
five; durable commits, one process each.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import aio_pika
import asyncpg
import pytest

from deploy.local.plan import SERVICES
from deploy.local.ports import Ports
from deploy.local.stack import Stack
from tests.bench.webhook_load import Measured, load

ROOT = Path(__file__).resolve().parents[2]
CONNECTIONS, SECONDS, RUNS = 64, 4.0, 5
AT_LEAST = 2.0

pytestmark = pytest.mark.bench


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    gateway = {"webhook-gateway": SERVICES["webhook-gateway"]}
    with Stack(ROOT / ".run" / "bench-webhooks", services=gateway, durable=True) as running:
        asyncio.run(_bind_a_queue(running.env["AMQP_URL"]))
        yield running


async def _bind_a_queue(amqp_url: str) -> None:
    """Where a worker would take them from; without one they would be published in vain."""
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(
            "bench", durable=True, arguments={"x-queue-type": "quorum"}
        )
        # Declared as the gateway does, which may not have come to it yet.
        exchange = await channel.declare_exchange("zoho.webhooks", "topic", durable=True)
        await queue.bind(exchange, "#")


@pytest.fixture
def one_insert_each(stack: Stack) -> Iterator[str]:
    """The URL of the server written by hand."""
    port = Ports(stack.folder / "bench-ports.json", in_use=False).of("bench")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.webhook_server", str(port)],
        env={
            **os.environ,
            "BENCH_DATABASE_URL": stack.env["DATABASE_URL"],
            "BENCH_SECRET": stack.settings["ZOHO_WEBHOOK_SECRET"],
        },
        cwd=ROOT,
    )
    url = f"http://127.0.0.1:{port}"
    _wait_until_it_answers(url)
    yield url
    process.terminate()
    process.wait(timeout=20)


def test_the_gateway_takes_twice_the_webhooks_of_one_insert_each(
    stack: Stack, one_insert_each: str
) -> None:
    secret = stack.settings["ZOHO_WEBHOOK_SECRET"].split(",")[0]
    servers = {
        "gateway": f"{stack.env['GATEWAY_URL']}/webhooks/billing",
        "one INSERT each": f"{one_insert_each}/webhooks/billing",
        "without an outbox": f"{one_insert_each}/bare",
    }
    found: dict[str, list[Measured]] = {name: [] for name in servers}
    for _ in range(RUNS):
        for name, url in servers.items():
            asyncio.run(_until_nothing_waits(stack.env["DATABASE_URL"]))
            found[name].append(load(url, secret, connections=CONNECTIONS, seconds=SECONDS))

    print(f"\n{'':18}{'requests/s':>12}{'p50 ms':>10}{'p99 ms':>10}")
    for name, runs in found.items():
        median = [
            statistics.median(getattr(run, figure) for run in runs)
            for figure in ("a_second", "p50_ms", "p99_ms")
        ]
        print(f"{name:18}{median[0]:12.0f}{median[1]:10.1f}{median[2]:10.1f}")
    ratio = statistics.median(
        ours.a_second / theirs.a_second
        for ours, theirs in zip(found["gateway"], found["one INSERT each"], strict=True)
    )
    print(f"ratio {ratio:.2f} (at least {AT_LEAST})")
    assert ratio >= AT_LEAST


async def _until_nothing_waits(database_url: str) -> None:
    """The gateway publishes what a burst left behind; that is not to slow the next run down."""
    connection = await asyncpg.connect(database_url)
    try:
        waiting = "SELECT count(*) FROM gateway.outbox WHERE published_at IS NULL"
        while await connection.fetchval(waiting):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.5)
    finally:
        await connection.close()


def _wait_until_it_answers(url: str) -> None:
    by = time.monotonic() + 20
    while time.monotonic() < by:
        try:
            urllib.request.urlopen(url, timeout=1).close()  # noqa: S310
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError("the server written by hand did not start")
