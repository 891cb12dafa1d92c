"""A broker with queues of a version before 0.1.0 is named at the start, and left as it is."""

from __future__ import annotations

from functools import partial

import aio_pika
import pytest

from shared.messaging.broker.connection import ReconnectingConnection
from shared.messaging.broker.former_queues import FormerQueues, refuse_former_queues
from tests.shared.messaging.conftest import Bench, until


async def a_former_queue(amqp_url: str, name: str) -> None:
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(
            name, durable=True, arguments={"x-queue-type": "quorum"}
        )
        await channel.default_exchange.publish(aio_pika.Message(b"{}"), queue.name)


@pytest.mark.parametrize(
    "name", ["billing-worker.commands", "billing-worker.retry.15m", "unrouted.dead"]
)
async def test_a_service_that_meets_former_queues_does_not_start(
    bench: Bench, amqp_url: str, name: str
) -> None:
    await a_former_queue(amqp_url, name)

    with pytest.raises(FormerQueues, match=rf"earlier version \({name}\)"):
        await bench.start()

    left = await bench.channel.declare_queue(name, passive=True)
    assert left.declaration_result.message_count == 1


async def test_queues_of_another_service_are_that_ones_to_name(bench: Bench, amqp_url: str) -> None:
    await a_former_queue(amqp_url, "crm-worker.commands")

    await bench.start()


async def test_former_queues_are_found_when_the_broker_comes_only_after_the_start(
    bench: Bench, amqp_url: str
) -> None:
    await a_former_queue(amqp_url, "billing-worker.commands")
    await bench.parts.broker.down()
    look = partial(refuse_former_queues, service="billing-worker")
    link = ReconnectingConnection(bench.parts.amqp_url, "test", look)

    async def is_up() -> bool:
        await link.tried(0)
        return link.is_up

    await link.__aenter__()
    await link.tried(20)
    await bench.parts.broker.up()
    with pytest.raises(FormerQueues):
        await until(is_up)
    with pytest.raises(FormerQueues):  # and the service ends with that
        await link.__aexit__(None, None, None)
