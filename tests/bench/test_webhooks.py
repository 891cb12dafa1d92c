"""Measure the acceptance of webhooks: one INSERT for all that wait, against one INSERT each.

64 connections, each sending its next webhook when the last was answered. Durable commits, one
process each, alternating, medians of five. Judged is the gateway against itself without grouping,
with everything else that acceptance is: signature, sealed, outbox, log, metrics. Shown beside it: a
server written by hand that does the least of it (`webhook_server.py`), with and without an outbox.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aio_pika
import asyncpg
import pytest

from deploy.local.plan import SERVICES
from deploy.local.ports import Ports
from deploy.local.stack import Stack
from tests.bench.figures import Figure, Figures
from tests.bench.webhook_load import Measured, load

ROOT = Path(__file__).resolve().parents[2]
CONNECTIONS, SECONDS, RUNS = 64, 4.0, 5
AT_LEAST = 2.0
OTHER = "/bench_ungrouped"

pytestmark = pytest.mark.bench


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    gateway = {"webhook-gateway": SERVICES["webhook-gateway"]}
    with Stack(ROOT / ".run" / "bench-webhooks", services=gateway, durable=True) as running:
        asyncio.run(_bind_a_queue(running.env["AMQP_URL"]))
        yield running


async def _bind_a_queue(amqp_url: str) -> None:
    """Declare the queue that a worker would consume. Without one, nothing would be routed."""
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(
            "bench", durable=True, arguments={"x-queue-type": "quorum"}
        )
        # Declared as the gateway does, which may not have come to it yet.
        exchange = await channel.declare_exchange("zoho.webhooks", "topic", durable=True)
        await queue.bind(exchange, "#")


@pytest.fixture
def ungrouped(stack: Stack) -> Iterator[str]:
    """The URL of the gateway that inserts one by one, with a database of its own."""
    database_url = asyncio.run(_new_database(stack.env["POSTGRES_URL"], "bench_ungrouped"))
    [gateway] = [
        process
        for process in json.loads((stack.folder / "plan.json").read_text())
        if process["name"] == "webhook-gateway.1"
    ]
    ports = Ports(stack.folder / "bench-ports.json", in_use=False)
    port, metrics = ports.of("ungrouped"), ports.of("ungrouped metrics")
    env = {"DATABASE_URL": database_url, "HTTP_PORT": str(port), "METRICS_PORT": str(metrics)}
    log = stack.folder / "logs" / "ungrouped.log"
    with _running("tests.bench.ungrouped_gateway", env=gateway["env"] | env, log=log):
        _wait_until_it_answers(f"http://127.0.0.1:{metrics}/readyz")
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def by_hand(stack: Stack) -> Iterator[str]:
    """The URL of the server written by hand."""
    port = Ports(stack.folder / "bench-ports.json", in_use=False).of("bench")
    env = {
        **os.environ,
        "BENCH_DATABASE_URL": stack.env["DATABASE_URL"],
        "BENCH_SECRET": stack.settings["ZOHO_WEBHOOK_SECRET"],
    }
    url = f"http://127.0.0.1:{port}"
    with _running(
        "tests.bench.webhook_server", str(port), env=env, log=stack.folder / "logs" / "by-hand.log"
    ):
        _wait_until_it_answers(url)
        yield url


@contextmanager
def _running(module: str, *arguments: str, env: Mapping[str, str], log: Path) -> Iterator[None]:
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env=env,
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    yield
    process.terminate()
    process.wait(timeout=20)


async def _new_database(postgres_url: str, name: str) -> str:
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(f'DROP DATABASE IF EXISTS "{name}"')
    await connection.execute(f'CREATE DATABASE "{name}"')
    await connection.close()
    return urlsplit(postgres_url)._replace(path=f"/{name}").geturl()


def test_grouping_takes_twice_the_webhooks_of_one_insert_each(
    stack: Stack, ungrouped: str, by_hand: str, figures: Figures
) -> None:
    secret = stack.settings["ZOHO_WEBHOOK_SECRET"].split(",")[0]
    servers = {
        "gateway": f"{stack.env['GATEWAY_URL']}/webhooks/billing",
        "one INSERT each": f"{ungrouped}/webhooks/billing",
        "by hand": f"{by_hand}/webhooks/billing",
        "by hand, no outbox": f"{by_hand}/bare",
    }
    own = urlsplit(stack.env["DATABASE_URL"])
    databases = [own.geturl(), urlsplit(stack.env["POSTGRES_URL"])._replace(path=OTHER).geturl()]
    found: dict[str, list[Measured]] = {name: [] for name in servers}
    for _ in range(RUNS):
        for name, url in servers.items():
            for database_url in databases:
                asyncio.run(_until_nothing_waits(database_url))
            found[name].append(load(url, secret, connections=CONNECTIONS, seconds=SECONDS))

    figures.show(f"{'':20}{'requests/s':>12}{'p50 ms':>10}{'p99 ms':>10}{'gateway is':>12}")
    ratios = {}
    for name, runs in found.items():
        median = [
            statistics.median(getattr(run, figure) for run in runs)
            for figure in ("a_second", "p50_ms", "p99_ms")
        ]
        ratios[name] = statistics.median(
            ours.a_second / theirs.a_second
            for ours, theirs in zip(found["gateway"], runs, strict=True)
        )
        figures.show(
            f"{name:20}{median[0]:12.0f}{median[1]:10.1f}{median[2]:10.1f}{ratios[name]:11.2f}x"
        )
    ratio = ratios["one INSERT each"]
    figures.add(Figure("webhooks, of one INSERT each", ratio, "times", at_least=AT_LEAST))


async def _until_nothing_waits(database_url: str) -> None:
    """The gateway publishes what a burst left behind. That is not to slow the next run down."""
    connection = await asyncpg.connect(database_url)
    try:
        waiting = "SELECT count(*) FROM gateway.outbox WHERE published_at IS NULL"
        while await connection.fetchval(waiting):  # noqa: ASYNC110 - nothing reports it
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
