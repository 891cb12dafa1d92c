"""Where the story is played: what an upstream application, Zoho's staff and a spectator can do.

Everything goes in as AMQP on `zoho.commands`, comes back on `zoho.events` or as a reply, and is
looked at in the sandbox. Nothing here knows how the services work.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import aio_pika
import aiohttp
from aio_pika.abc import AbstractChannel, AbstractExchange, AbstractIncomingMessage, AbstractQueue

Json = dict[str, Any]
PATIENCE_S = 60.0


class DidNotHappen(Exception):
    """What the story waited for did not come true in time."""


@dataclass
class Stage:
    """An open stage. `events` holds every event that came out so far, oldest first."""

    amqp_url: str
    sandbox_url: str
    patience_s: float = PATIENCE_S
    events: list[tuple[str, Json]] = field(default_factory=list)
    published: list[tuple[str, Json]] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self._news = asyncio.Condition()
        self._replies: dict[str, Json] = {}
        self._http = aiohttp.ClientSession()
        self._connection = await aio_pika.connect(self.amqp_url)
        self._channel: AbstractChannel = await self._connection.channel(on_return_raises=True)
        self._commands: AbstractExchange = await self._channel.get_exchange("zoho.commands")
        self._reply_queue = await self._listen(await self._own_queue(), self._on_reply)
        heard = await self._own_queue()
        await heard.bind("zoho.events", "#")
        await self._listen(heard, self._on_event)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self._connection.close()
        await self._http.close()

    async def _own_queue(self) -> AbstractQueue:
        return await self._channel.declare_queue(exclusive=True)

    async def _listen(
        self, queue: AbstractQueue, heed: Callable[[AbstractIncomingMessage], Any]
    ) -> AbstractQueue:
        await queue.consume(heed, no_ack=True)
        return queue

    async def _on_event(self, message: AbstractIncomingMessage) -> None:
        async with self._news:
            self.events.append((message.routing_key or "", json.loads(message.body)))
            self._news.notify_all()

    async def _on_reply(self, message: AbstractIncomingMessage) -> None:
        async with self._news:
            self._replies[message.correlation_id or ""] = json.loads(message.body)
            self._news.notify_all()

    # -- the application -------------------------------------------------------------------------

    async def publish(self, routing_key: str, body: Json, *, message_id: str | None = None) -> None:
        """Publish one command, persistent and confirmed, as an application should."""
        await self._publish(routing_key, body, message_id or str(uuid.uuid4()), None)

    async def ask(self, routing_key: str, body: Json) -> Json:
        """Publish a command that is answered, and wait for the reply."""
        asked = str(uuid.uuid4())
        await self._publish(routing_key, body, asked, self._reply_queue.name)
        await self._until(lambda: asked in self._replies, f"a reply to {routing_key}")
        return self._replies[asked]

    async def _publish(
        self, routing_key: str, body: Json, message_id: str, reply_to: str | None
    ) -> None:
        self.published.append((routing_key, body))
        message = aio_pika.Message(
            json.dumps(body).encode(),
            message_id=message_id,
            correlation_id=message_id,
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            reply_to=reply_to,
        )
        await self._commands.publish(message, routing_key)

    async def keep_copies(self, queue_name: str, exchanges: Sequence[str]) -> None:
        """Collect all that passes these exchanges in a durable queue that nobody empties."""
        queue = await self._channel.declare_queue(
            queue_name, durable=True, arguments={"x-queue-type": "quorum"}
        )
        for exchange in exchanges:
            await queue.bind(exchange, "#")

    async def event(self, routing_key: str, **fields: Any) -> Json:
        """The first event under this key whose fields have these values, now or soon."""

        def found() -> Json | None:
            for key, body in self.events:
                if key == routing_key and all(body.get(f) == v for f, v in fields.items()):
                    return body
            return None

        wanted = ", ".join(f"{f}={v}" for f, v in fields.items())
        await self._until(lambda: found() is not None, f"{routing_key} with {wanted}")
        return found() or {}

    async def _until(self, came_true: Callable[[], bool], what: str) -> None:
        try:
            async with asyncio.timeout(self.patience_s), self._news:
                await self._news.wait_for(came_true)
        except TimeoutError:
            raise DidNotHappen(f"{what} did not come within {self.patience_s:.0f} s") from None

    # -- Zoho -----------------------------------------------------------------------------------

    async def zoho(self, product: str, kind: str, what: str, like: Callable[[Json], Any]) -> Json:
        """The first object of this kind at Zoho that is like this, now or soon."""
        try:
            async with asyncio.timeout(self.patience_s):
                while True:
                    for thing in (await self.state())[product][kind]:
                        if like(thing):
                            return dict(thing)
                    await asyncio.sleep(0.2)
        except TimeoutError:
            raise DidNotHappen(f"Zoho {product} holds no {what}") from None

    async def state(self) -> Json:
        """Everything the sandbox holds, by product and kind."""
        return dict(await self._sandbox("GET", "state"))

    async def happens_at_zoho(self, path: str, **body: Any) -> Json:
        """What Zoho or its staff do by themselves: `billing/subscriptions/{id}/renew`, …"""
        return dict(await self._sandbox("POST", path, body))

    async def calls(self) -> Counter[str]:
        """Calls that Zoho counted so far, by product."""
        seen = await self._sandbox("GET", "requests")
        rows = seen["requests"] if isinstance(seen, dict) else seen
        return Counter(row["product"] for row in rows)

    async def _sandbox(self, method: str, path: str, body: Json | None = None) -> Any:
        url = f"{self.sandbox_url}/_sandbox/{path}"
        async with self._http.request(method, url, json=body) as answer:
            if answer.status >= 400:
                raise DidNotHappen(f"the sandbox answered {answer.status} to {path.split('/')[-1]}")
            return await answer.json()
