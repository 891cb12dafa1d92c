"""Open many connections that each send the next webhook when the last one was answered.

Requests are prepared. The sender looks at its sockets every two milliseconds instead of being woken
for each answer: on loopback, waking it is work of the process that answers, which Zoho's servers
never are to ours.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import select
import socket
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

REQUESTS = 60_000  # more than any server here answers in a run
LOOK_EVERY_S = 0.002


@dataclass(frozen=True)
class Measured:
    a_second: float
    p50_ms: float
    p99_ms: float


def load(url: str, secret: str, *, connections: int, seconds: float) -> Measured:
    """Send webhooks for so long. AssertionError when one is not answered with 200."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    requests = iter([_request(parts.netloc, parts.path, secret) for _ in range(REQUESTS)])
    took: list[float] = []
    with select.epoll() as epoll:
        started = time.perf_counter()
        by = started + seconds
        senders: dict[int, _Sender] = {}
        for _ in range(connections):
            sender = _Sender(parts.hostname, parts.port, requests, took)
            senders[sender.connection.fileno()] = sender
            epoll.register(sender.connection, select.EPOLLIN)
            sender.send()
        while senders:
            time.sleep(LOOK_EVERY_S)
            for file, _ in epoll.poll(0):
                if not senders[file].go_on(by):
                    epoll.unregister(file)
                    senders.pop(file).connection.close()
        elapsed = time.perf_counter() - started
    took.sort()
    return Measured(
        len(took) / elapsed, took[len(took) // 2] * 1000, took[int(len(took) * 0.99)] * 1000
    )


class _Sender:
    """One connection, with a request on its way."""

    __slots__ = ("_answer", "_requests", "_sent", "_took", "connection")

    def __init__(self, host: str, port: int, requests: Iterator[bytes], took: list[float]) -> None:
        self.connection = socket.create_connection((host, port))
        self.connection.setblocking(False)
        self._requests = requests
        self._took = took
        self._answer = b""
        self._sent = 0.0

    def send(self) -> None:
        self._answer = b""
        self._sent = time.perf_counter()
        self.connection.sendall(next(self._requests))

    def go_on(self, by: float) -> bool:
        """Read what is there. Send the next when it was all. False: the time is over."""
        received = self.connection.recv(65_536)
        assert received, "the server closed the connection"
        self._answer += received
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if not end or len(body) < _length(head):
            return True
        assert head.startswith(b"HTTP/1.1 200"), head[:60]
        now = time.perf_counter()
        self._took.append(now - self._sent)
        if now >= by:
            return False
        self.send()
        return True


def _length(head: bytes) -> int:
    return int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])


def _request(host: str, path: str, secret: str) -> bytes:
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
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"X-Zoho-Webhook-Signature: {signature}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
