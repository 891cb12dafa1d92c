"""Log every request: in full for drivers, and as one line on stdout for people.

The line holds no customer data. It names the operation and not the path, which holds ids.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

_KEPT = 50_000


def hashed(value: str) -> str:
    """Hash an authorization header for the log. Equal tokens stay recognizable."""
    return "sha256:" + hashlib.sha256(value.encode()).hexdigest()


@dataclass
class LoggedRequest:
    """One request. `status` is None until it is answered, 0 when its answer is withheld."""

    id: int
    time: datetime
    product: str
    operation: str
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    status: int | None = None
    fault: str | None = None
    held: str | None = None  # while it is held: "before" or "after" the handler runs
    done: bool = False  # the product's handler ran to its end
    duration_ms: float | None = None
    error: str | None = None  # file and line at which the sandbox itself failed

    def as_json(self) -> dict[str, Any]:
        return {**self.__dict__, "time": self.time.isoformat()}


class RequestLog:
    """The newest requests in order of arrival. Waits for new ones without polling."""

    def __init__(self, write_line: Callable[[str], object] = sys.stdout.write) -> None:
        self._entries: deque[LoggedRequest] = deque(maxlen=_KEPT)
        self._next_id = 1
        self._write_line = write_line
        self._changed = asyncio.Event()

    def next_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    def add(self, entry: LoggedRequest) -> None:
        self._entries.append(entry)
        self.notify()

    def notify(self) -> None:
        """Wake all waiters: a request arrived, was held, released or answered."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def changed(self, timeout_s: float) -> None:
        """Wait until something changes or the time is over."""
        try:
            await asyncio.wait_for(self._changed.wait(), timeout_s)
        except TimeoutError:
            return

    def answered(self, entry: LoggedRequest) -> None:
        line = {
            "time": entry.time.isoformat(timespec="milliseconds"),
            "product": entry.product,
            "operation": entry.operation,
            "method": entry.method,
            "status": entry.status,
            "fault": entry.fault,
            "duration_ms": entry.duration_ms,
        }
        if entry.error is not None:
            line["error"] = entry.error
        self._write_line(json.dumps(line) + "\n")
        self.notify()

    def held(self) -> list[LoggedRequest]:
        return [entry for entry in self._entries if entry.held is not None]

    def find(
        self,
        *,
        product: str | None = None,
        operation: str | None = None,
        after_id: int = 0,
        since: datetime | None = None,
    ) -> list[LoggedRequest]:
        return [
            entry
            for entry in self._entries
            if entry.id > after_id
            and (product is None or entry.product == product)
            and (operation is None or entry.operation == operation)
            and (since is None or entry.time >= since)
        ]

    def clear(self) -> None:
        self._entries.clear()
        self.notify()
