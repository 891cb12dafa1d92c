"""Many connections that each send their next webhook when the last one was answered.

Written to cost little, so that what is measured is the server: prepared requests, uvloop, one
protocol object for each connection.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

import uvloop

REQUESTS = 60_000  # more than any server here answers in a run


@dataclass(frozen=True)
class Measured:
    a_second: float
    p50_ms: float
    p99_ms: float


def load(url: str, secret: str, *, connections: int, seconds: float) -> Measured:
    """Send webhooks for so long; AssertionError when one is not answered with 200."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    requests = [_request(parts.netloc, secret) for _ in range(REQUESTS)]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(parts.hostname, parts.port, requests, connections, seconds))


async def _run(
    host: str, port: int, requests: list[bytes], connections: int, seconds: float
) -> Measured:
    loop = asyncio.get_running_loop()
    took: list[float] = []
    left = iter(requests)
    started = time.perf_counter()
    senders = [_Sender(left, took, started + seconds) for _ in range(connections)]
    waiting = iter(senders)
    for _ in senders:
        await loop.create_connection(lambda: next(waiting), host, port)
    await asyncio.gather(*(sender.done for sender in senders))
    elapsed = time.perf_counter() - started
    took.sort()
    return Measured(
        len(took) / elapsed, took[len(took) // 2] * 1000, took[int(len(took) * 0.99)] * 1000
    )


class _Sender(asyncio.Protocol):
    def __init__(self, requests: Iterator[bytes], took: list[float], by: float) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._requests = requests
        self._took = took
        self._by = by
        self._sent = 0.0
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by name
        self._send_next()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if not end or len(body) < _length(head):
            return
        self._took.append(time.perf_counter() - self._sent)
        self._answer = b""
        if head.startswith(b"HTTP/1.1 200"):
            self._send_next()
        else:
            self._fail(AssertionError(head[:60]))

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(error or ConnectionError("the server closed the connection"))

    def _send_next(self) -> None:
        self._sent = time.perf_counter()
        if self._sent < self._by and (request := next(self._requests, None)) is not None:
            self._transport.write(request)
            return
        self.done.set_result(None)
        self._transport.close()

    def _fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)
            self._transport.close()


def _length(head: bytes) -> int:
    return int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])


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
