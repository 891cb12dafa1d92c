"""Inject a fault into one request, before or after the handler has run."""

from __future__ import annotations

import asyncio
import socket
import struct

from aiohttp import web

from services.zoho_sandbox.server.calls import ApiCall, Dialect
from services.zoho_sandbox.server.faults import Fault

_DEFAULT_SLOW_S = 2.0


def refuse(call: ApiCall, fault: Fault, dialect: Dialect) -> web.Response:
    """Return the answer to a request that is refused before its token and limits are checked."""
    match fault.kind:
        case "reset_before":
            return _cut(call)
        case "html":
            return html_page()
        case "html_400":  # the edge refuses the whole call, as its abuse limits do
            return html_page(400)
        case "answer" if fault.answer:
            return web.Response(
                status=fault.answer.status,
                body=fault.answer.body,
                content_type=fault.answer.content_type,
                headers=fault.answer.headers,
            )
        case kind if kind.startswith("status:"):
            return dialect.error(fault.status)
        case kind:
            answer: web.Response = getattr(dialect, kind)(call)
            return answer


async def inject_before(call: ApiCall, fault: Fault) -> web.Response | None:
    """Delay the request before its handler. Return an answer only when the handler must not run."""
    if fault.kind == "slow":
        await asyncio.sleep(_DEFAULT_SLOW_S if fault.delay_s is None else fault.delay_s)
        return None
    await _hold(call, fault, "before")
    return _cut(call) if fault.kind == "hold_reset" else None


async def inject_after(
    call: ApiCall, fault: Fault, response: web.StreamResponse
) -> web.StreamResponse:
    """Lose, delay or replace the answer of a handler that has run."""
    if fault.kind in ("timeout_after", "hold_after"):
        await _hold(call, fault, "after")
    if fault.kind in ("timeout_after", "reset_after"):
        return _cut(call)
    return html_page() if fault.kind == "html_after" else response


async def _hold(call: ApiCall, fault: Fault, moment: str) -> None:
    """Hold the request until the faults are cleared or `delay_s` is over."""
    call.entry.held = moment
    call.world.requests.notify()
    try:
        await asyncio.wait_for(fault.released.wait(), fault.delay_s)
    except TimeoutError:
        pass
    finally:
        call.entry.held = None
        call.world.requests.notify()


def html_page(status: int = 200) -> web.Response:
    """Return the page that Zoho's edge answers when a request does not reach the product."""
    page = (
        "<!DOCTYPE html><html><head><title>Zoho</title></head>"
        "<body><h1>We are sorry</h1><p>Something went wrong. Please try again.</p></body></html>"
    )
    return web.Response(status=status, text=page, content_type="text/html")


def _cut(call: ApiCall) -> web.Response:
    """Reset the connection, so that the client gets no answer at all."""
    call.entry.status = 0
    transport = call.request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        if connection is not None:
            # Without lingering the kernel sends RST instead of FIN.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response(status=500)
