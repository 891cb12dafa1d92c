"""Subscribe by a durable queue, which also keeps what is published during an outage."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Collection, Hashable
from types import TracebackType
from typing import Any, Self

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from deploy.local.stack import Stack
from tests.kit.whole_system import all_published

Json = dict[str, Any]


class Hearing:
    """The events of one routing key, from the moment its context is entered.

    async with Hearing(stack, "customer.created.v1") as created:
        …                                      # the broker may go and come back
        counts = await created.counts(lambda event: event["user_id"], at_least=user_ids)

    Whatever happened before is published by then: an event whose confirm was lost in an outage is
    published again, much later, and would pass for a second one of this test.
    """

    def __init__(self, stack: Stack, routing_key: str) -> None:
        self._stack = stack
        self._url = stack.env["AMQP_URL"]
        self._routing_key = routing_key
        self._queue = f"hearing.{routing_key}"
        self._heard: dict[str, Json] = {}

    async def __aenter__(self) -> Self:
        await all_published(self._stack)
        async with await aio_pika.connect(self._url) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(
                self._queue, durable=True, arguments={"x-queue-type": "quorum"}
            )
            await queue.bind("zoho.events", self._routing_key)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        async with await aio_pika.connect(self._url) as connection:
            await (await connection.channel()).queue_delete(self._queue)

    async def counts(
        self,
        of: Callable[[Json], Hashable],
        *,
        at_least: Collection[Hashable],
        timeout_s: float = 60.0,
    ) -> Counter[Hashable]:
        """Count the events of each kind, once there is one of each that must be.

        An event counts once however often the broker brings it: a subscriber drops an `event_id`
        that it has had. All that lies in the queue by now is counted too.
        Raises: AssertionError: some did not come in time, or an `event_id` came with another
            content.
        """
        arrived = asyncio.Event()
        lying = 0
        contradictions: list[str] = []

        async def hear(message: AbstractIncomingMessage) -> None:
            nonlocal lying
            event = json.loads(message.body)
            if self._heard.setdefault(event["event_id"], event) != event:
                contradictions.append(event["event_id"])
            await message.ack()
            lying -= 1
            arrived.set()

        async with await aio_pika.connect(self._url) as connection:
            channel = await connection.channel()
            await channel.set_qos(prefetch_count=200)
            queue = await channel.declare_queue(self._queue, passive=True)
            lying = queue.declaration_result.message_count or 0
            await queue.consume(hear)
            missing = set(at_least)
            try:
                async with asyncio.timeout(timeout_s):
                    while lying > 0 or not missing <= set(map(of, self._heard.values())):
                        arrived.clear()
                        await arrived.wait()
            except TimeoutError:
                missing -= set(map(of, self._heard.values()))
                raise AssertionError(
                    f"{len(missing)} of {len(at_least)} × {self._routing_key} did not come"
                    f" within {timeout_s:.0f} s"
                ) from None
        assert not contradictions, f"event ids with a second content: {contradictions}"
        return Counter(map(of, self._heard.values()))
