"""Send webhooks about declined payments as Zoho Billing would, many a second.

They are signed, and sent again later when they are not answered with 200.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hmac
import json
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import aiohttp

Json = dict[str, Any]
FIRST_RETRY = dt.datetime(2031, 1, 1, tzinfo=dt.UTC)


@dataclass
class Declines:
    """Posts one webhook after the other while its context is entered, `per_s` a second.

    They name no payment, and `next_retry_at` distinguishes them: each is a failure of its own, and
    is announced once.
    """

    gateway_url: str
    secret: str
    customer_id: str
    per_s: float
    answers: Counter[int] = field(default_factory=Counter)
    slowest_s: float = 0.0
    sent: int = 0
    retry_after: set[str] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))
        self._posts: set[asyncio.Task[None]] = set()
        self._pace = asyncio.create_task(self._keep_sending())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pace.cancel()
        await asyncio.gather(self._pace, return_exceptions=True)
        await asyncio.gather(*self._posts)
        await self._session.close()

    @property
    def expected(self) -> list[dt.datetime]:
        return [FIRST_RETRY + dt.timedelta(hours=n) for n in range(self.sent)]

    async def _keep_sending(self) -> None:
        began = time.monotonic()
        while True:
            task = asyncio.create_task(self._tell(self.sent))
            self.sent += 1
            self._posts.add(task)
            task.add_done_callback(self._posts.discard)
            await asyncio.sleep(max(0.0, began + self.sent / self.per_s - time.monotonic()))

    async def _tell(self, number: int) -> None:
        body = self._body(number)
        while (status := await self._post(body)) != 200:
            if status != 503:
                raise AssertionError(f"a webhook was answered with {status}")
            await asyncio.sleep(1.0)

    async def _post(self, body: bytes) -> int:
        signature = hmac.digest(self.secret.encode(), body, "sha256").hex()
        headers = {"X-Zoho-Webhook-Signature": signature, "Content-Type": "application/json"}
        began = time.monotonic()
        url = f"{self.gateway_url}/webhooks/billing"
        async with self._session.post(url, data=body, headers=headers) as answer:
            self.answers[answer.status] += 1
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            if answer.status == 503:
                self.retry_after.add(answer.headers.get("Retry-After", "missing"))
            return answer.status

    def _body(self, number: int) -> bytes:
        payment: Json = {
            "customer_id": self.customer_id,
            "next_retry_at": (FIRST_RETRY + dt.timedelta(hours=number)).isoformat(),
        }
        event: Json = {
            "event_id": f"{self.customer_id}-{number}-{uuid.uuid4()}",
            "event_type": "payment_declined",
            "event_time": dt.datetime.now(dt.UTC).isoformat(),
            "data": {"payment": payment},
        }
        return json.dumps(event).encode()


def retry_of(event: Json) -> dt.datetime:
    """Return the decline that an event announces."""
    return dt.datetime.fromisoformat(event["next_retry_at"])
