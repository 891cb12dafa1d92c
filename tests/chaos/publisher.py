"""Publish commands one after the other, each until the broker has confirmed it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from itertools import chain
from types import TracebackType
from typing import Self

import aio_pika
from aio_pika.abc import AbstractConnection, AbstractExchange

from deploy.local.stack import Stack
from tests.chaos.accounts import Published
from tests.chaos.upheavals import Publishing


class OrderlyPublisher:
    """One publisher with confirms, as an application's own outbox would be.

    The broker may go and come back. A command without a confirm is published again, under the same
    message id, before the next one.
    """

    def __init__(self, amqp_url: str) -> None:
        self._url = amqp_url
        self._connection: AbstractConnection | None = None
        self._exchange: AbstractExchange | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._disconnect()

    async def publish(self, command: Published) -> None:
        """Return once the broker has confirmed it. Raises TimeoutError after two minutes."""
        message = aio_pika.Message(
            json.dumps(command.body).encode(),
            message_id=command.message_id,
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        async with asyncio.timeout(120):
            while True:
                try:
                    async with asyncio.timeout(10):
                        exchange = self._exchange or await self._connect()
                        await exchange.publish(message, command.routing_key)
                except (OSError, RuntimeError, TimeoutError, aio_pika.exceptions.AMQPError):
                    await self._disconnect()
                    await asyncio.sleep(0.2)
                else:
                    return

    async def _connect(self) -> AbstractExchange:
        self._connection = await aio_pika.connect(self._url)
        channel = await self._connection.channel(on_return_raises=True)
        self._exchange = await channel.get_exchange("zoho.commands")
        return self._exchange

    async def _disconnect(self) -> None:
        connection, self._connection, self._exchange = self._connection, None, None
        if connection is not None:
            try:
                async with asyncio.timeout(5):
                    await connection.close()
            except (OSError, RuntimeError, TimeoutError, aio_pika.exceptions.AMQPError):
                return  # it was gone already


async def publish_in_turns(
    stack: Stack, lists: Sequence[Sequence[Published]], publishing: Publishing
) -> None:
    """Each list in its own order, the first commands of all lists first."""
    commands = list(chain.from_iterable(zip(*lists, strict=True)))
    publishing.last_id = commands[-1].message_id
    async with OrderlyPublisher(stack.env["AMQP_URL"]) as publisher:
        for number, command in enumerate(commands):
            if number == len(commands) // 2:
                publishing.half_done.set()
                await asyncio.sleep(0)
            await publisher.publish(command)
    publishing.done.set()
