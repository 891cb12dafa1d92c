"""A connection to the broker is given up whenever it is not needed any more."""

from __future__ import annotations

import asyncio
import io
import json
import socket
from unittest.mock import AsyncMock

import aiormq
import pytest
from pydantic import SecretStr

from services.operator.access import broker as rabbitmq
from shared.messaging.broker import connection
from shared.messaging.broker.connection import ReconnectingConnection
from shared.messaging.broker.topology import Topology
from shared.messaging.handling.routes import Routes
from shared.observability import logs


@pytest.mark.parametrize("lost", [asyncio.CancelledError(), Exception("the stream ended")])
async def test_a_channel_that_the_library_gives_up_is_a_lost_connection(
    amqp_url: str, monkeypatch: pytest.MonkeyPatch, lost: BaseException
) -> None:
    """It cancels what waits on a connection without heartbeats; that must not end who asked."""
    async with ReconnectingConnection(SecretStr(amqp_url), "test") as link:
        await link.wait_up()
        monkeypatch.setattr(aiormq.Connection, "channel", AsyncMock(side_effect=lost))

        with pytest.raises(ConnectionError):
            await link.channel(confirms=True)


async def test_it_can_be_left_at_any_moment_of_its_beginning(amqp_url: str) -> None:
    """The client library swallows some cancellations, which must not keep a service from ending."""
    topology = Topology("webhook-gateway", Routes())
    for moment in range(120):
        async with asyncio.timeout(20):
            async with ReconnectingConnection(SecretStr(amqp_url), "test", topology.declare):
                await asyncio.sleep(moment / 2000)


async def test_the_next_host_is_tried_when_one_does_not_answer(amqp_url: str) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        closed_port = bound.getsockname()[1]
        user, _, rest = amqp_url.partition("@")
        url = SecretStr(f"{user}@127.0.0.1:{closed_port},{rest}")
        async with asyncio.timeout(20), ReconnectingConnection(url, "test") as link:
            await link.channel(confirms=True)
        async with rabbitmq.connect(url) as broker:
            assert await broker.state("absent") is None


async def test_a_broker_that_stays_away_is_one_line_with_its_address(monkeypatch) -> None:
    monkeypatch.setattr(connection, "_PAUSES_S", (0.01,))
    stream = io.StringIO()
    logs.configure("billing-worker", stream=stream)
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        link = ReconnectingConnection(SecretStr(f"amqp://u:secret@127.0.0.1:{port}/"), "test")
        attempts: asyncio.Queue[None] = asyncio.Queue()
        connect_once = link._connect_once

        async def counted() -> None:
            attempts.put_nowait(None)
            await connect_once()

        monkeypatch.setattr(link, "_connect_once", counted)
        async with asyncio.timeout(20), link:
            for _ in range(5):
                await attempts.get()

    [line] = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert line["event"] == "the broker is not reachable, trying again"
    assert str(port) in line["reason"]
    assert "secret" not in str(line)
