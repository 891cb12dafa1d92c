"""Deliveries to the targets: in the background, repeated until a 2xx, and badly when told so.

Zoho publishes no schedule for its retries; this one is short, so that tests see them. Zoho
promises neither order nor uniqueness, and `Misbehaviour` makes both happen.
Source: oauth-billing-books §3.5, crm-desk §1.7 and §2.6.
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
    """`X-Zoho-Webhook-Signature` by Zoho's rule, lower-case hex.

    Query and form pairs sorted by key, key and value run together, then the raw JSON body.
    `form` holds decoded pairs; a form body has no raw part.
    Source: https://www.zoho.com/billing/kb/webhooks/securing-webhooks.html
    """
    query = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    pairs = sorted([*query, *form], key=lambda pair: pair[0])
    text = "".join(key + value for key, value in pairs)
    return hmac.new(secret.encode(), text.encode() + raw_body, hashlib.sha256).hexdigest()


@dataclass(frozen=True)
class Target:
    """Where a product's webhooks go. `options` holds what only its product understands."""

    url: str
    secret: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Target:
        options = {name: value for name, value in given.items() if name not in ("url", "secret")}
        return cls(url=given["url"], secret=given.get("secret"), options=options)


@dataclass
class Misbehaviour:
    """`drop` and `duplicate` are probabilities, `shuffle` spreads deliveries over half a second."""

    drop: float = 0.0
    duplicate: float = 0.0
    shuffle: bool = False
    delay_s: float = 0.0


@dataclass
class WebhookDelivery:
    """One webhook on its way to one target; `status` in Zoho's words, and `dropped`."""

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
    """Targets by product, the deliveries so far, and the tasks that carry them out."""

    def __init__(self, ids: Ids, clock: Clock) -> None:
        self._ids = ids
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None
        self._targets: dict[str, list[Target]] = {}
        self._deliveries: deque[WebhookDelivery] = deque(maxlen=_KEPT)
        self.misbehaviour = Misbehaviour()

    def targets(self, product: str) -> list[Target]:
        return self._targets.get(product, [])

    def targets_as_json(self) -> dict[str, Any]:
        """As `PUT /_sandbox/targets` takes them."""
        return {
            product: [{"url": one.url, "secret": one.secret, **one.options} for one in targets]
            for product, targets in self._targets.items()
        }

    def aim(self, targets: Mapping[str, Any]) -> None:
        """Take targets as `PUT /_sandbox/targets` does: an object or a list for each product.

        Raises: KeyError: one has no url.
        """
        for product, given in targets.items():
            several = given if isinstance(given, list) else [given]
            self._targets[product] = [Target.of(one) for one in several if one]

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
        """Post `body` to `url` in the background, as often as it takes within the retries."""
        copies = 1 + (random.random() < self.misbehaviour.duplicate)  # noqa: S311
        for _ in range(copies):
            delivery = WebhookDelivery(
                self._ids.new("accounts"), product, event_type, event_id, url, self._clock.now()
            )
            self._deliveries.append(delivery)
            if random.random() < self.misbehaviour.drop:  # noqa: S311
                delivery.status = "dropped"
                continue
            task = asyncio.get_running_loop().create_task(
                self._carry_out(delivery, body, dict(headers), self._delay_s()), name="delivery"
            )
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def reset(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._targets.clear()
        self._deliveries.clear()
        self.misbehaviour = Misbehaviour()

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def _delay_s(self) -> float:
        spread = random.uniform(0, _SHUFFLE_WITHIN_S) if self.misbehaviour.shuffle else 0.0  # noqa: S311
        return self.misbehaviour.delay_s + spread

    async def _carry_out(
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
