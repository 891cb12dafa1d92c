"""Compare all exchanges of a run with Zoho's files: seen, different, never seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tests.contract.exchanges import Exchange
from tests.contract.openapi import OpenApi
from tests.contract.operations import IN_ZOHOS_FILES, Ours, declared
from tests.contract.validation import answer_problems, request_problems

Operation = tuple[str, str]
"""Product, and method and path as Zoho's file has them."""


@dataclass
class Report:
    seen: Counter[Operation] = field(default_factory=Counter)
    requests: Counter[tuple[Operation, str]] = field(default_factory=Counter)
    answers: Counter[tuple[Operation, str]] = field(default_factory=Counter)

    @property
    def holds(self) -> bool:
        return not self.requests and not self.answers

    def problems(self) -> Iterator[str]:
        for title, found in (("client", self.requests), ("sandbox", self.answers)):
            for ((product, name), problem), times in sorted(found.items()):
                yield f"{title}: {product} {name}: {problem} ({times} ×)"

    def never_seen(self) -> list[Ours]:
        """Operations of our clients that no request of this run was."""
        return sorted(
            (product, name)
            for product, name in declared()
            if (product, IN_ZOHOS_FILES.get((product, name), "")) not in self.seen
        )

    def lines(self) -> Iterator[str]:
        yield f"{self.seen.total()} requests of our clients, {len(self.seen)} operations of Zoho's:"
        for (product, name), times in sorted(self.seen.items()):
            yield f"{times:6} {product} {name}"
        never = [f"{product} {name}" for product, name in self.never_seen()]
        yield f"operations of our clients never seen: {', '.join(never) or 'none'}"
        yield "different from Zoho's files: " + ("nothing" if self.holds else "")
        yield from self.problems()


def compare(exchanges: Iterable[Exchange], zoho: OpenApi) -> Report:
    report = Report()
    for exchange in exchanges:
        documented = zoho.operation(exchange.product, exchange.method, exchange.path)
        if documented is None:
            # Its parts that look like ids are left out: reports get printed.
            shape = "/".join(
                "…" if any(map(str.isdigit, part)) else part for part in exchange.path.split("/")
            )
            operation = (exchange.product, f"{exchange.method} {shape}")
            report.requests[operation, "not in Zoho's files"] += 1
        else:
            operation = (exchange.product, documented.name + _form(exchange))
            for problem in request_problems(exchange, documented):
                report.requests[operation, problem] += 1
            for problem in answer_problems(exchange, documented):
                report.answers[operation, problem] += 1
        report.seen[operation] += 1
    return report


def _form(exchange: Exchange) -> str:
    return " as PDF" if exchange.headers.get("accept") == "application/pdf" else ""
