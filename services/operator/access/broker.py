"""Read how many messages and consumers RabbitMQ's queues have, and publish commands."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import (
    AMQPError,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    DeliveryError,
)
from aiormq.exceptions import ChannelAccessRefused
from pydantic import SecretStr

from shared.errors import Unavailable
from shared.messaging.broker.topology import (
    POISON,
    QUEUE_PERMISSIONS,
    UNROUTED_POISON,
    UNROUTED_QUEUE,
    queue_arguments,
    refusal,
)
from shared.messaging.handling.routes import COMMANDS
from shared.server_urls import amqp_urls

_CONFIRM_S: Final = 30.0
WORKERS: Final = ("billing-worker", "crm-worker", "desk-worker")


@dataclass(frozen=True)
class QueueState:
    """`messages` counts those ready to be delivered, not those that a consumer holds."""

    name: str
    messages: int
    consumers: int


def work_queues() -> list[str]:
    """Return the names of all queues that may exist. Not every service has each."""
    kinds = ("intake.commands", "intake.webhooks", "intake.events", "poison")
    names = [f"{service}.{kind}" for service in WORKERS for kind in kinds]
    return [*names, UNROUTED_QUEUE, UNROUTED_POISON]


class Broker:
    """One connection, for one command."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection

    async def state(self, name: str) -> QueueState | None:
        """Return the queue's state, or None when there is no such queue.

        RabbitMQ also answers 0 and 0 when the queue's leader does not reply within 250 ms: stat/2
        in rabbit_quorum_queue.erl, 3.10 as 4.x. So such an answer is asked for once more.
        """
        # A channel each: asking for a queue that does not exist closes it.
        channel = await self._connection.channel()
        try:
            state = await _counted(channel, name) or await _counted(channel, name)
        except ChannelNotFoundEntity:
            return None
        await channel.close()
        return state or QueueState(name, 0, 0)

    async def refusal(self, name: str) -> str | None:
        """Return what RabbitMQ has against declaring an existing queue as its service does.

        That is an argument with another value, or a permission that the user lacks.
        """
        poison = f"{name.partition('.')[0]}{POISON}"
        channel = await self._connection.channel()
        try:
            await channel.declare_queue(name, durable=True, arguments=queue_arguments(name, poison))
        except ChannelAccessRefused as error:
            return f"{refusal(error)} (permission: {QUEUE_PERMISSIONS})"
        except ChannelPreconditionFailed as error:
            return refusal(error)
        await channel.close()
        return None


async def _counted(channel: AbstractChannel, name: str) -> QueueState | None:
    """Return the counts. None when both are 0, which may also mean no answer from the leader."""
    declared = (await channel.declare_queue(name, passive=True)).declaration_result
    messages, consumers = declared.message_count or 0, declared.consumer_count or 0
    return QueueState(name, messages, consumers) if messages or consumers else None


@asynccontextmanager
async def connect(url: SecretStr) -> AsyncIterator[Broker]:
    """Connect to the first host of the URL that answers.

    Raises Unavailable when RabbitMQ cannot be reached, or refuses the user.
    """
    async with await _connect_to_any(amqp_urls(url.get_secret_value())) as connection:
        yield Broker(connection)


async def publish_command(
    url: SecretStr, routing_key: str, body: bytes, *, message_id: str, headers: Mapping[str, str]
) -> None:
    """Publish a command as an application does, persistent and confirmed.

    Raises Unavailable when RabbitMQ cannot be reached, does not confirm it (one that is short of
    memory or disk takes nothing), or no queue takes it.
    """
    message = aio_pika.Message(
        body,
        message_id=message_id,
        content_type="application/json",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        headers=dict(headers),
    )
    async with await _connect_to_any(amqp_urls(url.get_secret_value())) as connection:
        try:
            async with connection.channel(on_return_raises=True) as channel:
                exchange = await channel.get_exchange(COMMANDS)
                await exchange.publish(message, routing_key, timeout=_CONFIRM_S)
        except (AMQPError, DeliveryError, TimeoutError) as error:
            raise Unavailable(
                "RabbitMQ did not take the command: were the workers ever started?",
                code="broker_refused",
            ) from error


async def _connect_to_any(urls: Sequence[str]) -> AbstractConnection:
    last_error: Exception | None = None
    for url in urls:
        try:
            return await aio_pika.connect(url, timeout=10)
        except (AMQPError, OSError) as error:
            last_error = error
    raise Unavailable(
        f"RabbitMQ cannot be reached ({type(last_error).__name__}): see AMQP_URL",
        code="broker_unavailable",
    ) from last_error
