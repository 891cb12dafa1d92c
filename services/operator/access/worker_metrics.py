"""Read what the replicas of the workers say at `/metrics` about pauses of Zoho's products."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

QUOTA_CAUSES: Final = frozenset({"minute", "pace", "day", "concurrency"})
# Only the messages that come to one operation wait.
_OF_ONE_OPERATION: Final = frozenset({"scope", "permission", "licence"})
_TIMEOUT: Final = aiohttp.ClientTimeout(total=5.0, connect=2.0)


@dataclass
class ProductState:
    """A product as a service sees it. Several causes are several states.

    `cause`: None while it is open. `priorities`: whose messages wait. `until`: the latest of all
    replicas and priorities. None: it is not known.
    """

    service: str
    org: str
    product: str
    cause: str | None = None
    until: datetime | None = None
    priorities: list[str] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        return self.cause is None

    @property
    def waits_for_quota(self) -> bool:
        return self.cause in QUOTA_CAUSES

    @property
    def is_of_one_operation(self) -> bool:
        return self.cause in _OF_ONE_OPERATION


@dataclass(frozen=True)
class SeenProducts:
    states: list[ProductState]
    silent: list[str]  # the URLs that gave no answer


async def read_products(session: aiohttp.ClientSession, urls: Sequence[str]) -> SeenProducts:
    """Ask every replica that the URLs name."""
    samples: list[Sample] = []
    silent: list[str] = []
    for url in urls:
        try:
            async with session.get(url, timeout=_TIMEOUT, allow_redirects=False) as response:
                response.raise_for_status()
                samples += _with_service(await response.text())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            silent.append(url)
    return SeenProducts(_states(samples), silent)


def _with_service(text: str) -> Iterator[Sample]:
    samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
    service = next((s.labels["service"] for s in samples if s.name == "zoho_relay_info"), "")
    for sample in samples:
        yield sample._replace(labels={"service": service, **sample.labels})


def _states(samples: Sequence[Sample]) -> list[ProductState]:
    found: defaultdict[tuple[str, str, str], dict[str, ProductState]] = defaultdict(dict)
    for sample in samples:
        labels, product = sample.labels, _key(sample)
        match sample.name:
            case "product_closed_until_seconds":
                closed = found[product]
                if sample.value:
                    state = closed.setdefault(
                        labels["cause"], ProductState(*product, labels["cause"])
                    )
                    until = datetime.fromtimestamp(sample.value, UTC)
                    state.until = max(state.until or until, until)
                    if labels["priority"] not in state.priorities:
                        state.priorities.append(labels["priority"])
            case "zoho_breaker_open" if sample.value and labels["cause"] in _OF_ONE_OPERATION:
                cause = labels["cause"]
                found[product].setdefault(cause, ProductState(*product, cause))
    return [
        state
        for product, causes in sorted(found.items())
        for state in (causes.values() or [ProductState(*product)])
    ]


def _key(sample: Sample) -> tuple[str, str, str]:
    labels = sample.labels
    return labels["service"], labels.get("org", ""), labels.get("product", "")
