"""What every request goes through: log → faults → token, scope, organization → limits → handler.

A product adds its endpoints to a `Routes`, under Zoho's own operation titles, and answers in
its own `Dialect`. It need not know of faults, limits or the log.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson
from aiohttp import web

from services.zoho_sandbox.faults import Fault
from services.zoho_sandbox.limits import Refusal
from services.zoho_sandbox.request_log import LoggedRequest, hashed
from services.zoho_sandbox.world import World

_DEFAULT_SLOW_S = 2.0
_HIDDEN_HEADERS = ("authorization",)


class NotJson(ValueError):
    """The body is not a JSON object."""


@dataclass
class Call:
    """One request on its way through the sandbox. `token` is the live token it came with."""

    world: World
    request: web.Request
    operation: str
    body: bytes
    entry: LoggedRequest
    token: dict[str, Any] | None = None
    notes: dict[str, Any] = field(default_factory=dict)  # a product's own, from check to handler

    def json(self) -> dict[str, Any]:
        """The JSON object sent.

        Raises: NotJson: it is something else, or nothing.
        """
        try:
            value = orjson.loads(self.body)
        except orjson.JSONDecodeError as error:
            raise NotJson("the body is not JSON") from error
        if not isinstance(value, dict):
            raise NotJson("the body is not a JSON object")
        return value

    def path(self, name: str) -> str:
        """A part of the path, such as `customer_id`."""
        return self.request.match_info[name]

    def query(self, name: str, default: str = "") -> str:
        return self.request.query.get(name, default)


Handler = Callable[[Call], Awaitable[web.StreamResponse]]
Weight = int | Callable[[Call], int]
Heavy = bool | Callable[[Call], bool]


class Dialect(Protocol):
    """How a product says no: its bodies, statuses and headers."""

    def error(self, status: int) -> web.Response:
        """The product's own body for a plain HTTP status, for the fault `status:NNN`."""
        ...

    def minute_limit(self, call: Call) -> web.Response: ...
    def day_limit(self, call: Call) -> web.Response: ...
    def concurrency(self, call: Call) -> web.Response: ...
    def invalid_token(self, call: Call) -> web.Response: ...
    def scope_mismatch(self, call: Call) -> web.Response: ...
    def wrong_organization(self, call: Call) -> web.Response: ...
    def user_disabled(self, call: Call) -> web.Response: ...
    def ok_with_error(self, call: Call) -> web.Response: ...
    def unknown_url(self, call: Call) -> web.Response: ...
    def wrong_method(self, call: Call) -> web.Response: ...
    def bad_json(self, call: Call) -> web.Response: ...

    def check_organization(self, call: Call) -> web.Response | None:
        """The refusal when the request names no organization of ours; None lets it pass."""
        ...

    def decorate(self, call: Call, response: web.StreamResponse) -> None:
        """Add what the product puts on every answer, such as quota headers."""
        ...


def html_page(status: int = 200) -> web.Response:
    """What Zoho's edge answers when it does not get as far as the product."""
    page = (
        "<!DOCTYPE html><html><head><title>Zoho</title></head>"
        "<body><h1>We are sorry</h1><p>Something went wrong. Please try again.</p></body></html>"
    )
    return web.Response(status=status, text=page, content_type="text/html")


def scope_granted(granted: Sequence[str], needed: str) -> bool:
    """Whether one of `granted` covers `needed`; `a|b` in `needed` means either.

    `X.modules.ALL` covers `X.modules.contacts.READ`; `X.fullaccess.all` covers all of X.
    """
    return any(_covers(have, want) for want in needed.split("|") for have in granted)


def _covers(have: str, want: str) -> bool:
    have_parts, want_parts = have.lower().split("."), want.lower().split(".")
    if have_parts[:2] == [want_parts[0], "fullaccess"]:
        return True
    if have_parts[-1] == "all":
        stem = have_parts[:-1]
        return want_parts[: len(stem)] == stem
    return have_parts == want_parts


@dataclass(frozen=True)
class Route:
    """An endpoint: all of `scope` is needed; `weight` is what it costs of the day's quota."""

    operation: str
    handler: Handler
    scope: tuple[str, ...] = ()
    weight: Weight = 1
    heavy: Heavy = False
    token: bool = True
    organization: bool = True


class Routes:
    """The endpoints of one product under its prefix (`/billing/v1`, `/crm/{version:v[0-9.]+}`)."""

    def __init__(
        self, app: web.Application, world: World, *, product: str, prefix: str, dialect: Dialect
    ) -> None:
        self._app = app
        self._world = world
        self._product = product
        self._prefix = prefix
        self._depth = prefix.strip("/").count("/") + 1
        self._dialect = dialect
        self._patterns: list[tuple[str, re.Pattern[str]]] = []

    def add(
        self,
        method: str,
        path: str,
        operation: str,
        handler: Handler,
        *,
        scope: str | Sequence[str] = (),
        weight: Weight = 1,
        heavy: Heavy = False,
        token: bool = True,
        organization: bool = True,
    ) -> None:
        """`path` is relative to the prefix; fixed paths go before those with a part in braces."""
        scopes = (scope,) if isinstance(scope, str) else tuple(scope)
        route = Route(operation, handler, scopes, weight, heavy, token, organization)
        self._patterns.append((method, re.compile(re.sub(r"\{[^}]*\}", "[^/]+", path))))
        self._app.router.add_route(method, self._prefix + path, self._guard(route))

    def close(self) -> None:
        """Answer every other path under the prefix as the product does. Call it last."""

        async def no_such_endpoint(call: Call) -> web.StreamResponse:
            relative = self._relative(call.request)
            if any(pattern.fullmatch(relative) for _, pattern in self._patterns):
                return self._dialect.wrong_method(call)
            return self._dialect.unknown_url(call)

        route = Route("unknown", no_such_endpoint, organization=False, token=False)
        self._app.router.add_route("*", self._prefix + "/{tail:.*}", self._guard(route))

    def _guard(self, route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def guarded(request: web.Request) -> web.StreamResponse:
            call = await self._receive(request, route.operation)
            started = self._world.clock.monotonic()
            response = await self._answer(call, route)
            call.entry.status = response.status if call.entry.status is None else call.entry.status
            call.entry.duration_ms = round((self._world.clock.monotonic() - started) * 1000, 1)
            self._world.requests.answered(call.entry)
            return response

        return guarded

    async def _receive(self, request: web.Request, operation: str) -> Call:
        body = await request.read()
        entry = LoggedRequest(
            id=self._world.requests.next_id(),
            time=self._world.clock.now(),
            product=self._product,
            operation=operation,
            method=request.method,
            path=request.path,
            query=dict(request.query),
            headers={
                str(name): hashed(value) if name.lower() in _HIDDEN_HEADERS else value
                for name, value in request.headers.items()
            },
            body=_readable(body),
        )
        self._world.requests.add(entry)
        return Call(self._world, request, operation, body, entry)

    async def _answer(self, call: Call, route: Route) -> web.StreamResponse:
        fault = self._world.faults.take(
            self._product, route.operation, call.request.method, self._relative(call.request)
        )
        if fault is not None:
            call.entry.fault = fault.kind
            if not fault.after and (refused := await self._go_wrong_before(call, fault)):
                return refused
        response = await self._handle(call, route)
        if fault is not None and fault.after:
            return await self._go_wrong_after(call, fault, response)
        return response

    async def _handle(self, call: Call, route: Route) -> web.StreamResponse:
        if refused := self._check(call, route):
            return refused
        meter = self._world.limits[self._product]
        try:
            heavy = route.heavy(call) if callable(route.heavy) else route.heavy
            weight = route.weight(call) if callable(route.weight) else route.weight
            if refusal := meter.admit(weight, heavy=heavy):
                return self._refused(call, refusal)
            try:
                response = await route.handler(call)
            finally:
                meter.leave(heavy=heavy)
        except NotJson:
            return self._dialect.bad_json(call)
        call.entry.done = True
        self._dialect.decorate(call, response)
        return response

    def _check(self, call: Call, route: Route) -> web.Response | None:
        if route.token:
            call.token = live_token(self._world, call.request.headers.get("Authorization", ""))
            if call.token is None:
                return self._dialect.invalid_token(call)
            granted = str(call.token.get("scope", "")).split(",")
            if not all(scope_granted(granted, needed) for needed in route.scope):
                return self._dialect.scope_mismatch(call)
        if route.organization:
            return self._dialect.check_organization(call)
        return None

    def _refused(self, call: Call, refusal: Refusal) -> web.Response:
        match refusal:
            case Refusal.MINUTE:
                return self._dialect.minute_limit(call)
            case Refusal.DAY:
                return self._dialect.day_limit(call)
            case Refusal.CONCURRENCY:
                return self._dialect.concurrency(call)

    async def _go_wrong_before(self, call: Call, fault: Fault) -> web.Response | None:
        """The fault's answer, or None when the request goes on after all."""
        match fault.kind:
            case "slow":
                await asyncio.sleep(_DEFAULT_SLOW_S if fault.delay_s is None else fault.delay_s)
                return None
            case "hold" | "hold_reset":
                await self._hold(call, fault, "before")
                return _cut(call) if fault.kind == "hold_reset" else None
            case "reset_before":
                return _cut(call)
            case "html":
                return html_page()
            case kind if kind.startswith("status:"):
                return self._dialect.error(fault.status)
            case kind:
                answer: web.Response = getattr(self._dialect, kind)(call)
                return answer

    async def _go_wrong_after(
        self, call: Call, fault: Fault, response: web.StreamResponse
    ) -> web.StreamResponse:
        match fault.kind:
            case "reset_after":
                return _cut(call)
            case "timeout_after":
                await self._hold(call, fault, "after")
                return _cut(call)
            case "html_after":
                return html_page()
            case _:
                await self._hold(call, fault, "after")
                return response

    async def _hold(self, call: Call, fault: Fault, moment: str) -> None:
        """Until the faults are cleared, or `delay_s` is over."""
        call.entry.held = moment
        self._world.requests.notify()
        try:
            await asyncio.wait_for(fault.released.wait(), fault.delay_s)
        except TimeoutError:
            pass
        finally:
            call.entry.held = None
            self._world.requests.notify()

    def _relative(self, request: web.Request) -> str:
        return "/" + "/".join(request.path.strip("/").split("/")[self._depth :])


def live_token(world: World, authorization: str) -> dict[str, Any] | None:
    """The token named in the header, when it is one of ours, alive and unexpired.

    Zoho's scheme is `Zoho-oauthtoken`, not `Bearer`.
    """
    scheme, _, value = authorization.partition(" ")
    token = world.table("accounts", "tokens").get(value) if value else None
    if scheme != "Zoho-oauthtoken" or token is None or token["status"] != "active":
        return None
    return token if token["expires_at"] > world.clock.now().timestamp() else None


def _cut(call: Call) -> web.Response:
    """Reset the connection: the client sees no answer at all."""
    call.entry.status = 0
    transport = call.request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        if connection is not None:
            # Without lingering the kernel sends RST instead of FIN.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response(status=500)


def _readable(body: bytes) -> Any:
    if not body:
        return None
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.decode(errors="replace")
