"""Compare all exchanges of a run with our tables and Zoho's files: seen, different, never seen."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.contract.exchanges import Exchange
from tests.contract.openapi import OpenApi
from tests.contract.operations import declared
from tests.contract.tables import OurOperation, Tables
from tests.contract.validation import answer_problems, request_problems

DIRECT: Final = ""
"""In place of a service: a test called the client itself."""


@dataclass
class Report:
    """`sent`: how often each operation was sent, by the service that sent it.

    `requests` and `answers`: what is wrong, by product, method and path.
    """

    sent: Counter[tuple[OurOperation, str]] = field(default_factory=Counter)
    requests: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    answers: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    @property
    def holds(self) -> bool:
        return not self.requests and not self.answers

    def problems(self) -> Iterator[str]:
        for title, found in (("client", self.requests), ("sandbox", self.answers)):
            for (product, name, problem), times in sorted(found.items()):
                yield f"{title}: {product} {name}: {problem} ({times} ×)"

    def senders(self, operation: OurOperation) -> Counter[str]:
        return Counter(
            {service: times for (sent, service), times in self.sent.items() if sent == operation}
        )

    def covered(self) -> list[OurOperation]:
        """Operations that a service's own path has sent."""
        return [one for one in sorted(declared()) if any(self.senders(one))]

    def sent_by_tests_alone(self) -> list[OurOperation]:
        return [one for one in sorted(declared()) if set(self.senders(one)) == {DIRECT}]

    def never_sent(self) -> list[OurOperation]:
        return [one for one in sorted(declared()) if not self.senders(one)]

    def lines(self) -> Iterator[str]:
        covered = self.covered()
        yield f"{self.sent.total()} requests of our clients"
        yield f"operations that a service's own path sent ({len(covered)}):"
        for product, name in covered:
            senders = self.senders((product, name))
            by = ", ".join(f"{one} {senders[one]}" for one in sorted(senders) if one != DIRECT)
            yield f"  {product} {name}: {by}"
        yield f"sent by a test's own call alone: {_listed(self.sent_by_tests_alone())}"
        yield f"never sent: {_listed(self.never_sent())}"
        yield "different from the references: " + ("nothing" if self.holds else "")
        yield from self.problems()

    def save(self, file: Path) -> None:
        """Write what was sent, for `load`."""
        rows = [[*operation, service, times] for (operation, service), times in self.sent.items()]
        file.write_text(json.dumps(rows))

    def load(self, file: Path) -> None:
        """Add what another process of the same run has sent."""
        for product, name, service, times in json.loads(file.read_text()):
            self.sent[(product, name), service] += times


def compare(exchanges: Iterable[Exchange], tables: Tables, zoho: OpenApi | None) -> Report:
    """Compare with the tables, and with Zoho's own files where they are on this machine."""
    report = Report()
    for exchange in exchanges:
        entry = tables.entry_of(exchange)
        if entry is None:
            report.requests[exchange.product, _shape(exchange), "not in the tables"] += 1
            continue
        report.sent[entry.operation, exchange.service] += 1
        problems = set(request_problems(exchange, entry))
        in_answer = set(answer_problems(exchange, entry))
        if zoho is not None and entry.in_zohos_file:
            documented = zoho.operation(exchange.product, exchange.method, exchange.path)
            if documented is None:
                problems.add("not in Zoho's files")
            else:
                problems |= {*request_problems(exchange, documented)}
                in_answer |= {*answer_problems(exchange, documented)}
        for problem in problems:
            report.requests[exchange.product, entry.name, problem] += 1
        for problem in in_answer:
            report.answers[exchange.product, entry.name, problem] += 1
    return report


def _shape(exchange: Exchange) -> str:
    """Method and path without the parts that look like ids: reports get printed."""
    parts = ("…" if any(map(str.isdigit, part)) else part for part in exchange.path.split("/"))
    return f"{exchange.method} {'/'.join(parts)}"


def _listed(operations: Iterable[OurOperation]) -> str:
    return ", ".join(f"{product} {name}" for product, name in operations) or "none"
