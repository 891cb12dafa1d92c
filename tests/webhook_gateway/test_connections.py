"""Test that connections are bounded, and that one whose request does not come is ended."""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network

import aiohttp
import pytest
from aiohttp import web

from deploy.local.ports import free_port
from services.webhook_gateway.app import build
from services.webhook_gateway.connections import ConnectionBounds, Connections
from services.webhook_gateway.settings import Settings
from shared.environment import SettingsError
from tests.kit.fresh_keys import fresh_key
from tests.webhook_gateway.conftest import SECRET

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@dataclass
class Listener:
    """An application that answers once it may."""

    port: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    began: asyncio.Queue[None] = field(default_factory=asyncio.Queue)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def connect(self, client: str = "127.0.0.1") -> Streams:
        streams = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(client, 0))
        self.stack.callback(streams[1].close)
        return streams

    async def answer(self, request: web.Request) -> web.Response:
        self.began.put_nowait(None)
        await self.may_answer.wait()
        return web.Response()


@asynccontextmanager
async def listening(bounds: ConnectionBounds) -> AsyncIterator[Listener]:
    listener = Listener()
    listener.may_answer.set()
    connections = Connections(bounds, lambda reason: listener.ended.update([reason]))
    app = web.Application(middlewares=[connections.middleware])
    app.add_routes([web.get("/", listener.answer)])
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await connections.listen(runner, "127.0.0.1", 0)
        listener.port = int(runner.addresses[0][1])
        async with listener.stack:
            yield listener
    finally:
        await runner.cleanup()


async def answered(streams: Streams, request: bytes = GET) -> bool:
    """Send a request. False: the connection was ended instead of answered."""
    reader, writer = streams
    writer.write(request)
    try:
        async with asyncio.timeout(20):
            return (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    except (ConnectionError, asyncio.IncompleteReadError):
        return False


async def test_a_connection_without_a_request_is_ended_and_one_with_requests_is_not() -> None:
    async with listening(ConnectionBounds(request_within_s=0.3)) as listener:
        silent = await listener.connect()
        lively = await listener.connect()
        assert await answered(lively)
        listener.may_answer.clear()
        slow = asyncio.create_task(answered(await listener.connect()))

        assert await silent[0].read() == b""

        listener.may_answer.set()
        assert await slow
        assert await answered(lively)
        assert listener.ended == {"silent": 1}


async def test_headers_that_drip_are_ended() -> None:
    async with listening(ConnectionBounds(request_within_s=0.3)) as listener:
        reader, writer = await listener.connect()

        async def drip() -> None:
            for byte in GET[:-2] + b"X: " + b"y" * 5000:
                writer.write(bytes((byte,)))
                await writer.drain()
                await asyncio.sleep(0.02)

        with pytest.raises(ConnectionError):
            async with asyncio.timeout(20):
                await asyncio.gather(drip(), reader.read())
        assert listener.ended == {"silent": 1}


async def test_an_address_has_no_more_connections_than_it_may_and_others_have_theirs() -> None:
    async with listening(ConnectionBounds(per_address=3)) as listener:
        held = [await listener.connect() for _ in range(3)]
        assert not await answered(await listener.connect())
        assert await answered(await listener.connect("127.0.0.2"))
        assert listener.ended == {"address": 1}

        held[0][1].close()
        await held[0][1].wait_closed()
        async with asyncio.timeout(20):
            while not await answered(await listener.connect()):
                pass


async def test_a_proxy_s_connections_are_those_of_everybody() -> None:
    bounds = ConnectionBounds(per_address=1, proxies=(ip_network("127.0.0.0/8"),))
    async with listening(bounds) as listener:
        for _ in range(5):
            assert await answered(await listener.connect())
        assert not listener.ended


async def test_a_full_listener_ends_the_connection_that_has_waited_longest() -> None:
    async with listening(ConnectionBounds(total=3)) as listener:
        silent = [await listener.connect() for _ in range(3)]

        assert await answered(await listener.connect())

        assert await silent[0][0].read() == b""
        assert listener.ended == {"silent": 1}


async def test_a_full_listener_refuses_when_every_connection_has_a_request() -> None:
    async with listening(ConnectionBounds(total=2)) as listener:
        listener.may_answer.clear()
        busy = [asyncio.create_task(answered(await listener.connect())) for _ in range(2)]
        for _ in busy:
            await listener.began.get()

        assert not await answered(await listener.connect())

        assert listener.ended == {"total": 1}
        listener.may_answer.set()
        assert await asyncio.gather(*busy) == [True, True]


def test_half_of_the_files_are_left_for_everything_else() -> None:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert ConnectionBounds(total=10**9).total_of_files == files // 2


async def test_silent_connections_starve_neither_webhooks_nor_the_metrics_port(
    database_url: str, amqp_url: str
) -> None:
    settings = Settings(
        database_url=database_url,
        amqp_url=amqp_url,
        encryption_keys=fresh_key("k1"),
        index_keys=fresh_key("i1"),
        zoho_webhook_secret=SECRET,
        http_host="127.0.0.1",
        http_port=0,
        metrics_port=free_port(),
        http_connections=50,
        http_connections_per_address=40,
    )
    async with AsyncExitStack() as stack:
        port = await build(stack, settings)
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(60)]
        async with aiohttp.ClientSession(f"http://127.0.0.1:{settings.metrics_port}") as client:
            async with client.get("/readyz") as answer:
                assert answer.status == 200
            async with client.get("/metrics") as answer:
                metrics = await answer.text()
        assert 'http_connections_ended_total{reason="address"} 20.0' in metrics
        for _, writer in held:
            writer.close()


@pytest.mark.parametrize("proxies", ["nginx", "10.0.0.7/8", "10.0.0.7,"])
def test_a_proxy_is_an_address_or_a_network(monkeypatch: pytest.MonkeyPatch, proxies: str) -> None:
    monkeypatch.setenv("ZOHO_RELAY_ENV_FILE", "")
    monkeypatch.setenv("HTTP_TRUSTED_PROXIES", proxies)

    with pytest.raises(SettingsError) as caught:
        Settings.load()

    named = {problem.split(":")[0] for problem in caught.value.problems}
    assert ("HTTP_TRUSTED_PROXIES" in named) == (proxies != "10.0.0.7,")
