"""Act as an upstream application, as Zoho's staff and as a spectator on a running system.

Everything goes in as AMQP on `zoho.commands`, comes back on `zoho.events` or as a reply, and is
looked at in the sandbox. Nothing here knows how the services work.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple, Self

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractExchange, AbstractIncomingMessage, AbstractQueue

from deploy.driving.recording import record
from services.zoho_sandbox.driver import Json, SandboxDriver, WaitTimeout

PATIENCE_S = 60.0


class PublishedCommand(NamedTuple):
    routing_key: str
    body: Json
    message_id: str


@dataclass
class SystemDriver:
    """Drive a running system. `events` holds every event that came out so far, oldest first."""

    amqp_url: str
    sandbox_url: str
    patience_s: float = PATIENCE_S
    events: list[tuple[str, Json]] = field(default_factory=list)
    published: list[PublishedCommand] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self._changed = asyncio.Condition()
        self._replies: dict[str, Json] = {}
        self.sandbox = await SandboxDriver(self.sandbox_url).__aenter__()
        self._connection = await aio_pika.connect(self.amqp_url)
        self.channel: AbstractChannel = await self._connection.channel(on_return_raises=True)
        self._commands: AbstractExchange = await self.channel.get_exchange("zoho.commands")
        self._reply_queue = await self._listen(await self._own_queue(), self._on_reply)
        self._event_queue = await self._own_queue()
        await self._event_queue.bind("zoho.events", "#")
        await self._listen(self._event_queue, self._on_event)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self._connection.close()
        await self.sandbox.__aexit__(kind, error, tb)

    async def _own_queue(self) -> AbstractQueue:
        return await self.channel.declare_queue(exclusive=True)

    async def _listen(
        self, queue: AbstractQueue, handle: Callable[[AbstractIncomingMessage], Any]
    ) -> AbstractQueue:
        await queue.consume(handle, no_ack=True)
        return queue

    async def _on_event(self, message: AbstractIncomingMessage) -> None:
        record("event", message.routing_key or "", message.body)
        async with self._changed:
            self.events.append((message.routing_key or "", json.loads(message.body)))
            self._changed.notify_all()

    async def _on_reply(self, message: AbstractIncomingMessage) -> None:
        record("reply", message.correlation_id or "", message.body)
        async with self._changed:
            self._replies[message.correlation_id or ""] = json.loads(message.body)
            self._changed.notify_all()

    async def hear(self) -> None:
        """Return once every event that the broker had when this was called is in `events`.

        What it delivers on a channel comes before its answer to a later question there.
        """
        await self.channel.declare_queue(self._event_queue.name, passive=True)
        async with self._changed:  # those that came are taken in turn
            await asyncio.sleep(0)

    # -- as the application ------------------------------------------------------------------------

    async def publish(self, routing_key: str, body: Json, *, message_id: str | None = None) -> None:
        """Publish one command, persistent and confirmed, as an application should."""
        await self._publish(routing_key, body, message_id or str(uuid.uuid4()), None)

    async def ask(self, routing_key: str, body: Json) -> Json:
        """Publish a command that is answered, and wait for the reply."""
        message_id = await self.ask_without_waiting(routing_key, body)
        await self._until(lambda: message_id in self._replies, f"a reply to {routing_key}")
        return self._replies[message_id]

    async def ask_without_waiting(self, routing_key: str, body: Json) -> str:
        """Publish a command that is answered, and return its id without waiting for the reply."""
        message_id = str(uuid.uuid4())
        await self._publish(routing_key, body, message_id, self._reply_queue.name)
        return message_id

    async def _publish(
        self, routing_key: str, body: Json, message_id: str, reply_to: str | None
    ) -> None:
        self.published.append(PublishedCommand(routing_key, body, message_id))
        message = aio_pika.Message(
            json.dumps(body).encode(),
            message_id=message_id,
            correlation_id=message_id,
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            reply_to=reply_to,
        )
        await self._commands.publish(message, routing_key)

    async def keep_copies(self, queue_name: str, routing_keys: Mapping[str, Sequence[str]]) -> None:
        """Collect what passes under these keys, by exchange, in a queue that nobody empties."""
        queue = await self.channel.declare_queue(
            queue_name, durable=True, arguments={"x-queue-type": "quorum"}
        )
        for exchange, keys in routing_keys.items():
            for key in keys:
                await queue.bind(exchange, key)

    async def peek(self, queue_name: str) -> list[AbstractIncomingMessage]:
        """All messages that lie in a queue. They stay there."""
        async with await self._connection.channel() as channel:  # its end puts back what was taken
            queue = await channel.get_queue(queue_name, ensure=False)
            messages = []
            while message := await queue.get(fail=False, timeout=30):
                messages.append(message)
        return messages

    async def event(self, routing_key: str, **fields: Any) -> Json:
        """The first event under this key whose fields have these values, now or soon."""

        def first_match() -> Json | None:
            for key, body in self.events:
                if key == routing_key and all(body.get(f) == v for f, v in fields.items()):
                    return body
            return None

        wanted = ", ".join(f"{f}={v}" for f, v in fields.items())
        await self._until(lambda: first_match() is not None, f"{routing_key} with {wanted}")
        return first_match() or {}

    async def _until(self, is_true: Callable[[], bool], what: str) -> None:
        try:
            async with asyncio.timeout(self.patience_s), self._changed:
                await self._changed.wait_for(is_true)
        except TimeoutError:
            raise WaitTimeout(f"{what} did not come within {self.patience_s:.0f} s") from None

    # -- at Zoho -----------------------------------------------------------------------------------

    async def zoho(self, product: str, kind: str, what: str, like: Callable[[Json], Any]) -> Json:
        """The first object of this kind at Zoho that is like this, now or soon."""
        by = asyncio.get_running_loop().time() + self.patience_s
        while True:
            for thing in await self.sandbox.records(product, kind):
                if like(thing):
                    return thing
            if asyncio.get_running_loop().time() > by:
                raise WaitTimeout(f"Zoho {product} holds no {what}")
            await asyncio.sleep(0.2)

    async def calls(self) -> Counter[str]:
        """Calls that Zoho was asked for so far, by product."""
        return Counter(row["product"] for row in await self.sandbox.requests())
