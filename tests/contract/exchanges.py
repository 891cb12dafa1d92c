"""Read what the sandbox recorded: requests of our clients, with the answers they got."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_PREFIXES: Final = {
    "billing": re.compile(r"/billing/v1"),
    "books": re.compile(r"/books/v3"),
    "crm": re.compile(r"/crm/v[0-9.]+"),
    "desk": re.compile(r"/desk/api/v1"),
}
# Of a service: `zoho-relay/0.1.0 (billing-worker)`. Of a test's own client: without a name.
_OUR_AGENT: Final = re.compile(r"zoho-relay/\S+(?: \((?P<service>[^)]+)\))?")


@dataclass(frozen=True)
class Exchange:
    """One request, with its path after the product's prefix and its header names in lower case.

    `answer` is None when the client got none, or what a fault of the sandbox made of it.
    """

    product: str
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    status: int
    answer: Mapping[str, Any] | None

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> Exchange:
        product = line["product"]
        return cls(
            product=product,
            method=line["method"],
            path=_PREFIXES[product].sub("", line["path"], count=1),
            query=line["query"],
            headers={name.lower(): value for name, value in line["headers"].items()},
            body=line["body"],
            status=line["status"] or 0,
            answer=None if line["fault"] else line["answer"],
        )

    @property
    def is_ours(self) -> bool:
        """Whether one of our clients sent it, and not a test by itself."""
        return self._agent is not None

    @property
    def service(self) -> str:
        """The service whose own path sent it. Empty when a test called the client."""
        return (self._agent and self._agent["service"]) or ""

    @property
    def _agent(self) -> re.Match[str] | None:
        return _OUR_AGENT.fullmatch(self.headers.get("user-agent", ""))


def ours(record: Path, *, start: int = 0) -> Iterator[Exchange]:
    """Return what our clients sent, from this byte of the record on. Nothing without a record."""
    if not record.exists():
        return
    with record.open("rb") as lines:
        lines.seek(start)
        for line in lines:
            exchange = Exchange.of(json.loads(line))
            if exchange.is_ours:
                yield exchange


def size(record: Path) -> int:
    """Bytes recorded so far."""
    return record.stat().st_size if record.exists() else 0
