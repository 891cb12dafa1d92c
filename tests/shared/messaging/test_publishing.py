"""Messages that are published at the same moment are answered each for itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from unittest.mock import AsyncMock
from uuid import uuid4

import pytest
from pydantic import SecretStr

from shared.errors import Unavailable
from shared.messaging.broker import refused_routes
from shared.messaging.broker.connection import ReconnectingConnection
from shared.messaging.broker.publisher import BrokerRefused, ExchangeMissing, Publisher, Unroutable
from shared.messaging.messages.outgoing_message import OutgoingMessage


@pytest.fixture
async def publisher(amqp_url: str) -> AsyncIterator[Publisher]:
    async with ReconnectingConnection(SecretStr(amqp_url), "test") as link:
        await link.wait_up()
        yield Publisher(link)


@pytest.fixture
async def queue(publisher: Publisher) -> str:
    """A queue that takes two messages and refuses more."""
    channel = await publisher._link.channel(confirms=False)
    name = f"test.publishing.{uuid4()}"
    arguments = {"x-max-length": 2, "x-overflow": "reject-publish", "x-expires": 60_000}
    await channel.queue_declare(name, arguments=arguments)
    return name


def letter(queue: str, message_id: str = "", exchange: str = "", **more: bool) -> OutgoingMessage:
    return OutgoingMessage(exchange, queue, message_id or str(uuid4()), b"{}", **more)


async def codes(publisher: Publisher, *letters: OutgoingMessage) -> list[str | None]:
    """Publish them at once. The code of what is the matter with each. None: the broker has it."""

    async def code(letter: OutgoingMessage) -> str | None:
        try:
            await publisher.publish(letter)
        except Unavailable as error:
            return error.code
        return None

    return await asyncio.gather(*map(code, letters))


async def test_each_has_its_own_answer(publisher: Publisher, queue: str) -> None:
    letters = [
        letter(queue),
        letter("nowhere"),
        letter("x" * 256),
        letter("nowhere", mandatory=False),
        letter(queue),
    ]

    assert await codes(publisher, *letters) == [None, "unroutable", "not_encodable", None, None]
    channel = await publisher._link.channel(confirms=False)
    assert (await channel.queue_declare(queue, passive=True)).message_count == 2
    assert publisher.in_flight == 0


async def test_a_refusal_holds_back_what_comes_later_of_its_route(
    publisher: Publisher, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refused_routes, "_FIRST_S", 3600.0)
    assert await codes(publisher, letter(queue), letter(queue)) == [None, None]
    assert await codes(publisher, letter(queue)) == [BrokerRefused.code]
    channel = await publisher._link.channel(confirms=False)
    await channel.queue_purge(queue)  # now it would take more

    answers = await codes(publisher, letter(queue), letter("nowhere"))

    assert answers == [BrokerRefused.code, Unroutable.code]
    assert publisher.refused.held() == [("", queue)]


async def test_two_with_one_id_go_one_after_the_other(publisher: Publisher, queue: str) -> None:
    """The library tells by the id which of them came back: only the second has nowhere to go."""
    answers = await codes(publisher, letter(queue, "same"), letter("nowhere", "same"))

    assert answers == [None, Unroutable.code]


async def test_an_exchange_that_is_gone_leaves_none_of_its_channel_unanswered(
    publisher: Publisher, queue: str
) -> None:
    """The broker closes the channel, and answers none of the others that were on it."""
    answers = await codes(publisher, letter("k", exchange="gone"), letter(queue))

    assert answers == [ExchangeMissing.code, ExchangeMissing.code]
    assert await codes(publisher, letter(queue)) == [None]


async def test_an_exchange_is_declared_once_more_when_declaring_broke_off(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    declarations = AsyncMock(side_effect=asyncio.CancelledError)
    monkeypatch.setattr(publisher._link, "prepare_again", declarations)

    answers = [await codes(publisher, letter("k", exchange="gone")) for _ in range(2)]

    assert answers == [[ExchangeMissing.code]] * 2
    assert declarations.await_count == 2


async def test_without_a_connection_nothing_is_published(amqp_url: str) -> None:
    link = ReconnectingConnection(SecretStr(amqp_url), "test")

    assert await codes(Publisher(link), letter("q")) == ["broker_unavailable"]
