"""Webhook acceptance: the gateway against a server that does one INSERT each.

64 connections, each sending its next webhook when the last was answered. Alternating, medians of
five; durable commits, one process each.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aio_pika
import pytest

from deploy.local.plan import SERVICES
from deploy.local.ports import Ports
from deploy.local.stack import Stack

ROOT = Path(__file__).resolve().parents[2]
CONNECTIONS, SECONDS, RUNS = 64, 4.0, 5
AT_LEAST = 2.0

pytestmark = pytest.mark.bench


@dataclass(frozen=True)
class Measured:
    a_second: float
    p50_ms: float
    p99_ms: float


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
        await queue.bind("zoho.webhooks", "#")


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
    servers = {"gateway": stack.env["GATEWAY_URL"], "one INSERT each": one_insert_each}
    found: dict[str, list[Measured]] = {name: [] for name in servers}
    for _ in range(RUNS):
        for name, url in servers.items():
            found[name].append(asyncio.run(_load(url, secret)))

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


async def _load(url: str, secret: str) -> Measured:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    requests = iter([_request(parts.netloc, secret) for _ in range(40_000)])
    took: list[float] = []
    started = time.perf_counter()
    by = started + SECONDS
    await asyncio.gather(
        *(_connection(parts.hostname, parts.port, requests, took, by) for _ in range(CONNECTIONS))
    )
    elapsed = time.perf_counter() - started
    took.sort()
    return Measured(
        len(took) / elapsed, took[len(took) // 2] * 1000, took[int(len(took) * 0.99)] * 1000
    )


async def _connection(
    host: str, port: int, requests: Iterator[bytes], took: list[float], by: float
) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    for request in requests:
        sent = time.perf_counter()
        if sent > by:
            break
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head[:60]
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        took.append(time.perf_counter() - sent)
    writer.close()


def _request(host: str, secret: str) -> bytes:
    """A webhook of about 1 KiB, signed by Zoho's rule for a URL without parameters."""
    body = json.dumps(
        {
            "event_id": uuid.uuid4().hex,
            "event_type": "subscription_renewed",
            "event_time": "2026-01-01T00:00:00-0800",
            "data": {"subscription": {"subscription_id": "9" * 19, "name": "x" * 800}},
        }
    ).encode()
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    head = (
        f"POST /webhooks/billing HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"X-Zoho-Webhook-Signature: {signature}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


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
