"""Deliver webhooks in the background, with retries until a 2xx answer.

Zoho publishes no schedule for its retries. This one is short, so that tests see them. Zoho
promises neither order nor uniqueness, and `DeliveryFaults` breaks both on request.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import random
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp

from services.zoho_sandbox.server.clock import Clock
from services.zoho_sandbox.server.tables import Ids

_RETRY_AFTER_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
_TIMEOUT_S = 10.0
_SHUFFLE_WITHIN_S = 0.5
_KEPT = 50_000


def signature(secret: str, url: str, form: Iterable[tuple[str, str]], raw_body: bytes) -> str:
    """Compute `X-Zoho-Webhook-Signature` by Zoho's rule, as lower-case hex.

    The text signed is the query and form pairs, sorted by key, each key joined with its value, and
    then the raw JSON body. `form` holds decoded pairs. A form body has no raw part.
    Source: https://www.zoho.com/billing/kb/webhooks/securing-webhooks.html
    """
    query = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    pairs = sorted([*query, *form], key=lambda pair: pair[0])
    text = "".join(key + value for key, value in pairs)
    return hmac.new(secret.encode(), text.encode() + raw_body, hashlib.sha256).hexdigest()


@dataclass(frozen=True)
class Target:
    """A URL that receives a product's webhooks. `options` are read by that product alone."""

    url: str
    secret: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Target:
        options = {name: value for name, value in entry.items() if name not in ("url", "secret")}
        return cls(url=entry["url"], secret=entry.get("secret"), options=options)


@dataclass
class DeliveryFaults:
    """Faults of delivery. `drop` and `duplicate` are probabilities, `shuffle` mixes the order."""

    drop: float = 0.0
    duplicate: float = 0.0
    shuffle: bool = False
    delay_s: float = 0.0


@dataclass
class WebhookDelivery:
    """One webhook for one target. `status` is one of Zoho's words, or `dropped`."""

    id: str
    product: str
    event_type: str
    event_id: str
    url: str
    created: datetime
    status: str = "scheduled"
    answers: list[int | str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {**self.__dict__, "created": self.created.isoformat()}


class WebhookDeliveries:
    """Targets by product, the deliveries so far, and the tasks that post them."""

    def __init__(self, ids: Ids, clock: Clock) -> None:
        self._ids = ids
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None
        self._targets: dict[str, list[Target]] = {}
        self._deliveries: deque[WebhookDelivery] = deque(maxlen=_KEPT)
        self.delivery_faults = DeliveryFaults()

    def targets(self, product: str) -> list[Target]:
        return self._targets.get(product, [])

    def targets_as_json(self) -> dict[str, Any]:
        """Return the targets in the form of `PUT /_sandbox/targets`."""
        return {
            product: [
                {"url": target.url, "secret": target.secret, **target.options} for target in targets
            ]
            for product, targets in self._targets.items()
        }

    def set_targets(self, targets: Mapping[str, Any]) -> None:
        """Set targets in the form of `PUT /_sandbox/targets`: an object or a list for each product.

        Raises: KeyError: one has no url.
        """
        for product, entry in targets.items():
            entries = entry if isinstance(entry, list) else [entry]
            self._targets[product] = [Target.of(options) for options in entries if options]

    def deliveries(self) -> list[WebhookDelivery]:
        return list(self._deliveries)

    def send(
        self,
        product: str,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        event_type: str,
        event_id: str = "",
    ) -> None:
        """Post `body` to `url` in the background, and again until a 2xx or the last retry."""
        copies = 1 + (random.random() < self.delivery_faults.duplicate)  # noqa: S311
        for _ in range(copies):
            delivery = WebhookDelivery(
                self._ids.new("accounts"), product, event_type, event_id, url, self._clock.now()
            )
            self._deliveries.append(delivery)
            if random.random() < self.delivery_faults.drop:  # noqa: S311
                delivery.status = "dropped"
                continue
            task = asyncio.get_running_loop().create_task(
                self._deliver(delivery, body, dict(headers), self._delay_s()), name="delivery"
            )
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def reset(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._targets.clear()
        self._deliveries.clear()
        self.delivery_faults = DeliveryFaults()

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def _delay_s(self) -> float:
        spread = random.uniform(0, _SHUFFLE_WITHIN_S) if self.delivery_faults.shuffle else 0.0  # noqa: S311
        return self.delivery_faults.delay_s + spread

    async def _deliver(
        self, delivery: WebhookDelivery, body: bytes, headers: dict[str, str], delay_s: float
    ) -> None:
        await asyncio.sleep(delay_s)
        for wait_s in (*_RETRY_AFTER_S, None):
            answer = await self._post(delivery.url, body, headers)
            delivery.answers.append(answer)
            if isinstance(answer, int) and 200 <= answer < 300:
                delivery.status = "success"
                return
            if wait_s is None:
                break
            await asyncio.sleep(wait_s)
        delivery.status = "failure"

    async def _post(self, url: str, body: bytes, headers: dict[str, str]) -> int | str:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S))
        try:
            async with self._session.post(url, data=body, headers=headers) as response:
                await response.read()
                return response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return type(error).__name__
