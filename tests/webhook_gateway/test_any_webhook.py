"""Test at random that no webhook without proof is stored, and that none breaks the gateway."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import asyncpg
from aiohttp import web
from aiohttp.test_utils import TestServer

from deploy.local.ports import free_port
from tests.kit.fresh_keys import fresh_key
from tests.kit.fuzzing import cases
from tests.webhook_gateway.conftest import (
    CHANNEL_TOKEN,
    DESK_ORG,
    DESK_WEBHOOK,
    SECRET,
    WORKFLOW_SECRET,
    DeskSide,
)
from tests.webhook_gateway.odd_webhooks import OddWebhooks, Webhook

ROOT = Path(__file__).parents[2]
AT_ONCE = 8
_SEED = 20_260_131
_MIB = 1024


@dataclass
class Process:
    """A gateway in a process of its own."""

    port: int
    pid: int

    def memory_kib(self, which: str = "VmRSS") -> int:
        found = re.search(rf"{which}:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text())
        assert found is not None
        return int(found[1])


class Connection:
    """A connection to the gateway, opened again when it was ended."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writer: asyncio.StreamWriter | None = None

    async def send(self, webhook: Webhook) -> int:
        """Send it. Returns the status, or 0 when there is no answer.

        A connection that was used before may be ended at any time: it is sent again on a new one.
        """
        was_used = self._writer is not None
        status = await self._send_once(webhook)
        return status if status or not was_used else await self._send_once(webhook)

    async def _send_once(self, webhook: Webhook) -> int:
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        status = 0
        with suppress(OSError, asyncio.IncompleteReadError):
            self._writer.write(webhook.on_the_wire())
            if webhook.ends_early:
                self._writer.write_eof()
            status = await self._answer()
        if webhook.ends_early or not status:
            self.close()
        return status

    async def _answer(self) -> int:
        head = await self._reader.readuntil(b"\r\n\r\n")
        while head.startswith(b"HTTP/1.1 100"):
            head = await self._reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        await self._reader.readexactly(int(length[1]) if length else 0)
        if b"onnection: close" in head:
            self.close()
        return int(head.split(b" ", 2)[1])

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


@asynccontextmanager
async def running(database_url: str, amqp_url: str, jwks_url: str) -> AsyncIterator[Process]:
    port, metrics_port = free_port(), free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "services.webhook_gateway"),
        cwd="/",
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "ZOHO_RELAY_ENV_FILE": "",
            "DATABASE_URL": database_url,
            "AMQP_URL": amqp_url,
            "ENCRYPTION_KEYS": fresh_key("k1"),
            "INDEX_KEYS": fresh_key("i1"),
            "ZOHO_WEBHOOK_SECRET": SECRET,
            "ZOHO_CRM_CHANNEL_TOKEN": CHANNEL_TOKEN,
            "ZOHO_CRM_WEBHOOK_SECRET": WORKFLOW_SECRET,
            "ZOHO_DESK_ORG_ID": DESK_ORG,
            "ZOHO_DESK_WEBHOOK_ID": DESK_WEBHOOK,
            "ZOHO_DESK_JWKS_URL": jwks_url,
            "HTTP_HOST": "127.0.0.1",
            "HTTP_PORT": str(port),
            "METRICS_PORT": str(metrics_port),
            "LOG_LEVEL": "ERROR",
        },
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    logged = asyncio.create_task(process.stdout.read())
    try:
        await _until_ready(f"http://127.0.0.1:{metrics_port}/readyz")
        yield Process(port, process.pid)
    finally:
        process.terminate()
        assert await process.wait() == 0
        lines = [json.loads(line) for line in (await logged).splitlines()]
        # The server reports what broke off, which is nobody's fault here.
        assert [line for line in lines if line.get("logger") != "aiohttp.server"] == []


async def test_webhooks_at_random(database_url: str, amqp_url: str) -> None:
    desk = DeskSide()
    published = web.Application()
    published.add_routes([web.get("/jwks", desk.publish)])
    half = cases(1_000, 500_000)
    database = await asyncpg.connect(database_url)
    async with TestServer(published) as zoho:
        jwks_url = str(zoho.make_url("/jwks"))
        # Valid for the longest of runs.
        odd = OddWebhooks(_SEED, desk.token(exp=2_000_000_000))
        async with running(database_url, amqp_url, jwks_url) as gateway:
            await _send(gateway, odd, half // 10, authentic=True)
            before = gateway.memory_kib()
            stored = await database.fetchval("SELECT count(*) FROM gateway.webhooks")

            unproven = await _send(gateway, odd, half, authentic=False)
            assert await database.fetchval("SELECT count(*) FROM gateway.webhooks") == stored
            proven = await _send(gateway, odd, half, authentic=True)

            assert {product for product, status in unproven if status == 200} <= {"desk"}
            statuses = {status for _, status in unproven | proven}
            assert statuses <= {0, 200, 400, 401, 404, 405, 411, 413, 417, 503}
            assert sum(count for (_, status), count in proven.items() if status == 200) > half / 5
            assert gateway.memory_kib() - before < 100 * _MIB
            assert gateway.memory_kib("VmHWM") - before < 250 * _MIB
    await database.close()


async def _send(
    gateway: Process, odd: OddWebhooks, count: int, *, authentic: bool
) -> Counter[tuple[str, int]]:
    """How often each product answered with each status."""
    answers: Counter[tuple[str, int]] = Counter()
    left = iter(range(count))

    async def send_some() -> None:
        connection = Connection(gateway.port)
        for _ in left:
            webhook = odd.draw(authentic=authentic)
            status = await connection.send(webhook)
            assert status or webhook.ends_early, webhook
            assert status < 500 or status == 503, webhook
            answers[webhook.product, status] += 1
        connection.close()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(send_some())
    return answers


async def _until_ready(url: str) -> None:
    async with aiohttp.ClientSession() as client, asyncio.timeout(60):
        while True:
            with suppress(aiohttp.ClientConnectionError):
                async with client.get(url) as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.05)
