"""Read the state of RabbitMQ's queues, and publish given-up messages again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError, ChannelNotFoundEntity, DeliveryError
from pydantic import SecretStr

from services.operator.dead_letters.dead_letter import DeadLetterMessage
from services.operator.dead_letters.peek import look_through
from shared.errors import Unavailable
from shared.messaging.broker.publisher import Unroutable
from shared.messaging.broker.topology import UNROUTED_QUEUE, retry_exchange
from shared.messaging.handling.policy import RetryPolicy
from shared.server_urls import amqp_urls

WORKERS: Final = ("billing-worker", "crm-worker", "desk-worker")
_LANES: Final = ("urgent", "commands", "reads", "webhooks", "events")


@dataclass(frozen=True)
class QueueState:
    """`messages` ready to be delivered. Those being handled are not counted."""

    name: str
    messages: int
    consumers: int


def work_queues() -> list[str]:
    """Every queue that messages are handled from, not each service has each."""
    return [f"{service}.{lane}" for service in WORKERS for lane in _LANES] + [UNROUTED_QUEUE]


def retry_queues() -> list[str]:
    delays = [name for name, _ in RetryPolicy().delays]
    return [retry_exchange(service, delay) for service in WORKERS for delay in delays]


class Broker:
    """One connection, for one command."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self._publisher: AbstractChannel | None = None

    async def state(self, name: str) -> QueueState | None:
        """None when there is no such queue.

        RabbitMQ says 0 and 0 also when the queue's leader does not answer within 250 ms: stat/2 in
        rabbit_quorum_queue.erl, 3.10 as 4.x. That is asked once more, and then believed.
        """
        # A channel each: asking for what is not there closes it.
        channel = await self._connection.channel()
        try:
            found = await _counted(channel, name) or await _counted(channel, name)
        except ChannelNotFoundEntity:
            return None
        await channel.close()
        return found or QueueState(name, 0, 0)

    async def dead_letters(self, queue: str, limit: int) -> AsyncIterator[HeldDeadLetter]:
        """The dead letters of a work queue, the oldest first. What is not removed stays there.

        Until the iteration ends they are out of sight for others. Each look counts as a delivery,
        of which a dead-letter queue allows a million.

        Raises:
            Unavailable: the broker does not answer, or somebody else is looking.
        """
        channel = await self._connection.channel()
        try:
            async with aclosing(look_through(channel, f"{queue}.dead", limit)) as messages:
                async for message in messages:
                    yield HeldDeadLetter(DeadLetterMessage.of(message, queue), message)
        finally:
            await channel.close()  # puts back whatever was not acknowledged

    async def send_again(self, letter: DeadLetterMessage, replay_id: str) -> None:
        """Return once the broker has it safely in a queue.

        Raises:
            Unroutable: no queue takes it. The service has never been started here.
            Unavailable: not confirmed.
        """
        name, routing_key = letter.destination
        try:
            channel = await self._publishing()
            exchange = (
                await channel.get_exchange(name, ensure=False) if name else channel.default_exchange
            )
            await exchange.publish(letter.again(replay_id), routing_key, mandatory=True)
        except DeliveryError as error:
            raise Unroutable(f"no queue takes it: {routing_key}") from error
        except (AMQPError, OSError) as error:
            raise Unavailable("not confirmed", code="broker_unavailable") from error

    async def _publishing(self) -> AbstractChannel:
        if self._publisher is None or self._publisher.is_closed:
            self._publisher = await self._connection.channel(
                publisher_confirms=True, on_return_raises=True
            )
        return self._publisher


async def _counted(channel: AbstractChannel, name: str) -> QueueState | None:
    """None when it has nothing and nobody, or the broker did not learn what."""
    found = (await channel.declare_queue(name, passive=True)).declaration_result
    messages, consumers = found.message_count or 0, found.consumer_count or 0
    return QueueState(name, messages, consumers) if messages or consumers else None


@dataclass(frozen=True)
class HeldDeadLetter:
    """A dead letter in hand: it goes back unless it is removed."""

    letter: DeadLetterMessage
    _message: AbstractIncomingMessage

    async def remove(self) -> None:
        await self._message.ack()


@asynccontextmanager
async def connect(url: SecretStr) -> AsyncIterator[Broker]:
    """Connect to the first host of the URL that answers.

    Raises Unavailable when RabbitMQ cannot be reached, or refuses the user.
    """
    async with await _connect_to_any(amqp_urls(url.get_secret_value())) as connection:
        yield Broker(connection)


async def _connect_to_any(urls: Sequence[str]) -> AbstractConnection:
    last: Exception | None = None
    for url in urls:
        try:
            return await aio_pika.connect(url, timeout=10)
        except (AMQPError, OSError) as error:
            last = error
    raise Unavailable(
        f"RabbitMQ cannot be reached ({type(last).__name__}): see AMQP_URL",
        code="broker_unavailable",
    ) from last
