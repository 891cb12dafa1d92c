"""Keep connections within bounds, and end those whose request does not come.

aiohttp waits without end for the first request of a connection, and for the end of its headers.
Whoever holds some hundred such connections would otherwise use up the process's files.
"""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final, cast

from aiohttp import web
from aiohttp.typedefs import Handler

Network = IPv4Network | IPv6Network

_REQUEST_WITHIN_S: Final = 10.0
_NEXT_WITHIN_S: Final = 75.0  # longer than the 60 s for which nginx keeps a connection
_PART_OF_FILES: Final = 2  # the other half is for PostgreSQL, RabbitMQ and the metrics port
_BACKLOG: Final = 1024
_PREFIX_OF_IPV6: Final = 64  # what one subscriber is given


@dataclass(frozen=True, slots=True)
class ConnectionBounds:
    """How many connections may be open at once.

    Args:
        total: of all. Never more than half of the files that the process may open.
        per_address: of one IPv4 address, or one /64 of IPv6.
        proxies: the proxies in front, whose connections are those of everybody. Only `total`
            counts for them.
        request_within_s: how long the headers of a first request may take.
    """

    total: int = 1000
    per_address: int = 100
    proxies: tuple[Network, ...] = ()
    request_within_s: float = _REQUEST_WITHIN_S

    @property
    def total_of_files(self) -> int:
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return self.total if files < 0 else min(self.total, files // _PART_OF_FILES)


class Connections:
    """The open connections of one listener.

    When there are as many as there may be, a new one takes the place of the one that has waited
    longest without a request. It is refused when all of them have one.

    Args:
        ended: called with why a connection was ended: `address`, `total` or `silent`.
    """

    def __init__(self, bounds: ConnectionBounds, ended: Callable[[str], None]) -> None:
        self._bounds = bounds
        self._total = bounds.total_of_files
        self._ended = ended
        self._by_address: Counter[Network] = Counter()
        self._open: dict[asyncio.BaseTransport, _Connection] = {}

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Mark the request's connection as busy. To be the application's first one."""
        connection = None if request.transport is None else self._open.get(request.transport)
        if connection is None:
            return await handler(request)
        connection.busy()
        try:
            return await handler(request)
        finally:
            self._served(connection, request.transport)

    async def listen(self, runner: web.AppRunner, host: str, port: int) -> None:
        await _Site(runner, host, port, self).start()

    def opened(self, connection: _Connection, transport: asyncio.BaseTransport) -> bool:
        """Count a new connection. False: there is no room for it."""
        address = self._counted(transport)
        if address is not None and self._by_address[address] >= self._bounds.per_address:
            self._ended("address")
            return False
        if len(self._open) >= self._total and not self._make_room():
            self._ended("total")
            return False
        if address is not None:
            self._by_address[address] += 1
        self._open[transport] = connection
        connection.address = address
        connection.wait(self._bounds.request_within_s)
        return True

    def closed(self, connection: _Connection, transport: asyncio.BaseTransport) -> None:
        if self._open.pop(transport, None) is None or connection.address is None:
            return
        self._by_address[connection.address] -= 1
        if not self._by_address[connection.address]:
            del self._by_address[connection.address]

    def silent(self, connection: _Connection) -> None:
        self._ended("silent")
        connection.end()

    def _served(self, connection: _Connection, transport: asyncio.BaseTransport | None) -> None:
        """Let it wait for its next request, as the last of those that make room."""
        connection.wait(_NEXT_WITHIN_S)
        if transport is not None and self._open.pop(transport, None) is not None:
            self._open[transport] = connection

    def _make_room(self) -> bool:
        waiting = next((each for each in self._open.values() if each.is_waiting), None)
        if waiting is not None:
            self.silent(waiting)
        return waiting is not None

    def _counted(self, transport: asyncio.BaseTransport) -> Network | None:
        """The address that the connection counts for. None: a proxy's, or none is known."""
        peer = transport.get_extra_info("peername")
        try:
            address = ip_address(peer[0].partition("%")[0])
        except (TypeError, ValueError, IndexError):  # it was closed at once
            return None
        if address.version == 6 and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if any(address in proxy for proxy in self._bounds.proxies):
            return None
        prefix = _PREFIX_OF_IPV6 if address.version == 6 else address.max_prefixlen
        return ip_network((address, prefix), strict=False)


class _Connection(asyncio.Protocol):
    """One connection: passes on to aiohttp's protocol what comes, and waits for requests."""

    def __init__(self, inner: asyncio.Protocol, connections: Connections) -> None:
        self._inner = inner
        self._connections = connections
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.address: Network | None = None

    @property
    def is_waiting(self) -> bool:
        return self._timer is not None

    def wait(self, within_s: float) -> None:
        self.busy()
        if self._transport is not None and not self._transport.is_closing():
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(within_s, self._connections.silent, self)

    def busy(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def end(self) -> None:
        self.busy()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Of a TCP listener. Those of uvloop are no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._inner.connection_made(transport)
        if not self._connections.opened(self, transport):
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self.busy()
        if self._transport is not None:
            self._connections.closed(self, self._transport)
        self._inner.connection_lost(error)


class _Site(web.BaseSite):
    """Listens on an address with bounded connections."""

    def __init__(
        self, runner: web.AppRunner, host: str, port: int, connections: Connections
    ) -> None:
        super().__init__(runner, backlog=_BACKLOG)
        self._host = host
        self._port = port
        self._connections = connections

    @property
    def name(self) -> str:
        return f"http://{self._host}:{self._port}"

    async def start(self) -> None:
        await super().start()
        server = self._runner.server
        assert server is not None  # noqa: S101 - the runner is set up
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Connection(server(), self._connections),
            self._host,
            self._port,
            backlog=self._backlog,
        )
