"""One request and its answer on the wire, and whether the request was ever written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import aiohttp
import orjson
from yarl import URL

from shared.version import VERSION

_CONNECT_S: Final = 5.0
# Idle connections are dropped by us before a peer is likely to.
_KEEP_S: Final = 10.0
_AGENT: Final = f"zoho-relay/{VERSION}"


class NotWritten(Exception):
    """Surely nothing reached Zoho. `too_late`: because its last moment had passed."""

    def __init__(self, *, too_late: bool = False) -> None:
        super().__init__("too late to write" if too_late else "no connection")
        self.too_late = too_late


class AnswerLost(Exception):
    """It was written, or may have been, and no answer came."""


@dataclass
class RequestTrace:
    """The life of one request. `written` once its first byte may have left.

    `traced`: aiohttp reports its steps, so that "not written" is known and not guessed.
    """

    write_until: float
    written: bool = False
    traced: bool = False


@dataclass(frozen=True)
class HttpRequest:
    """One request as it goes over the network.

    `fresh`: on a connection of its own. One that was kept may be closed by the peer in the very
    moment we write, and that is an answer lost.
    """

    method: str
    url: str
    params: Mapping[str, str]
    json: Any
    headers: Mapping[str, str]
    timeout_s: float
    fresh: bool


@dataclass(frozen=True)
class RawResponse:
    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """Connections to Zoho. At most `connections` requests at a time, first come, first served.

    aiohttp's own connector is not fair: with more tasks than connections some waited over a second.
    """

    def __init__(
        self, kept: aiohttp.ClientSession, fresh: aiohttp.ClientSession, connections: int
    ) -> None:
        self._kept = kept
        self._fresh = fresh
        self._slots = asyncio.Semaphore(connections)

    async def send(self, request: HttpRequest, trace: RequestTrace) -> RawResponse:
        """Send it and read the whole answer. Redirects are not followed: they would carry the
        token elsewhere, and cost a call.

        Raises: NotWritten, AnswerLost.
        """
        session = self._fresh if request.fresh else self._kept
        async with self._slots:
            try:
                async with session.request(
                    request.method,
                    URL(request.url).update_query(request.params),
                    data=None if request.json is None else dumps(request.json),
                    headers=request.headers,
                    # Otherwise a POST without a body goes out as application/octet-stream.
                    skip_auto_headers=("Content-Type",),
                    timeout=aiohttp.ClientTimeout(total=request.timeout_s, sock_connect=_CONNECT_S),
                    allow_redirects=False,
                    trace_request_ctx=trace,
                ) as response:
                    trace.written = True
                    return RawResponse(response.status, response.headers, await response.read())
            except NotWritten as error:
                if trace.written:
                    raise AnswerLost from error
                raise
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                if not trace.written and (trace.traced or _before_writing(error)):
                    raise NotWritten from error
                trace.written = True
                raise AnswerLost from error


@asynccontextmanager
async def open_transport(service: str = "", *, connections: int = 20) -> AsyncIterator[Transport]:
    """The sessions that calls go through, closed on the way out. Zoho sees the service's name."""
    agent = f"{_AGENT} ({service})" if service else _AGENT
    async with (
        _session(agent, aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_S)) as kept,
        _session(agent, aiohttp.TCPConnector(limit=0, force_close=True)) as fresh,
    ):
        yield Transport(kept, fresh, connections)


def dumps(value: Any) -> bytes:
    """JSON. A `Decimal` as the number it is."""
    return orjson.dumps(value, default=_decimal)


def _decimal(value: Any) -> Any:
    if isinstance(value, Decimal) and value.is_finite():
        return orjson.Fragment(format(value, "f"))
    raise TypeError(f"{type(value).__name__} is not JSON")


def _session(agent: str, connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(_about_to_connect)
    trace.on_request_headers_sent.append(_about_to_write)
    return aiohttp.ClientSession(
        connector=connector,
        trace_configs=[trace],
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": agent},
    )


async def _about_to_connect(_session: Any, context: Any, _params: Any) -> None:
    context.trace_request_ctx.traced = True


async def _about_to_write(_session: Any, context: Any, _headers: Any) -> None:
    """aiohttp calls this when it is connected, before the first byte leaves."""
    trace: RequestTrace = context.trace_request_ctx
    # aiohttp sends a GET, PUT or DELETE again by itself when a kept connection turns out to be
    # closed. Zoho would count both, we only one, and a PUT was perhaps done.
    if trace.written or time.monotonic() > trace.write_until:
        raise NotWritten(too_late=not trace.written)
    trace.written = True


def _before_writing(error: BaseException) -> bool:
    """Whether the error says that there was no connection. Any other counts as written."""
    return isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
