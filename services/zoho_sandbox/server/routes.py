"""Pass every request through log → faults → token, scope, organization → limits → handler.

A product adds its endpoints to a `Routes`, under Zoho's own operation titles, and answers in
its own `Dialect`. It does not know of faults, limits or the log.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from services.zoho_sandbox.server.access import live_token, scope_granted
from services.zoho_sandbox.server.calls import (
    ApiCall,
    Dialect,
    EndpointHandler,
    NotJson,
    json_answer,
)
from services.zoho_sandbox.server.fault_injection import inject_after, inject_before, refuse
from services.zoho_sandbox.server.faults import Fault
from services.zoho_sandbox.server.limits import Refusal
from services.zoho_sandbox.server.recording import record_call
from services.zoho_sandbox.server.request_log import LoggedRequest, hashed
from services.zoho_sandbox.server.world import World

__all__ = ["ApiCall", "Dialect", "Endpoint", "EndpointHandler", "NotJson", "Routes", "json_answer"]

_HIDDEN_HEADERS = ("authorization",)

Weight = int | Callable[[ApiCall], int]
Heavy = bool | Callable[[ApiCall], bool]


@dataclass(frozen=True)
class Endpoint:
    """An endpoint of Zoho's.

    A token needs all of `scope`. A call costs `weight` of the day's quota. A `heavy` call counts
    against the smaller limit of calls in flight too. `token` and `organization`: whether they are
    checked.
    """

    operation: str
    handler: EndpointHandler
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
        self._prefix_segments = prefix.strip("/").count("/") + 1
        self._dialect = dialect
        self._patterns: list[tuple[str, re.Pattern[str]]] = []

    def add(
        self,
        method: str,
        path: str,
        operation: str,
        handler: EndpointHandler,
        *,
        scope: str | Sequence[str] = (),
        weight: Weight = 1,
        heavy: Heavy = False,
        token: bool = True,
        organization: bool = True,
    ) -> None:
        """Add an endpoint. `path` has no prefix. Add fixed paths before variable ones."""
        scopes = (scope,) if isinstance(scope, str) else tuple(scope)
        endpoint = Endpoint(operation, handler, scopes, weight, heavy, token, organization)
        self._patterns.append((method, re.compile(re.sub(r"\{[^}]*\}", "[^/]+", path))))
        self._app.router.add_route(method, self._prefix + path, self._guard(endpoint))

    def close(self) -> None:
        """Refuse every other path under the prefix, as the product does. Call this last."""

        async def no_such_endpoint(call: ApiCall) -> web.StreamResponse:
            relative = self._relative(call.request)
            if any(pattern.fullmatch(relative) for _, pattern in self._patterns):
                return self._dialect.wrong_method(call)
            return self._dialect.unknown_url(call)

        endpoint = Endpoint("unknown", no_such_endpoint, organization=False, token=False)
        self._app.router.add_route("*", self._prefix + "/{tail:.*}", self._guard(endpoint))

    def _guard(self, endpoint: Endpoint) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def guarded(request: web.Request) -> web.StreamResponse:
            call = await self._receive(request, endpoint.operation)
            started = self._world.clock.monotonic()
            try:
                response = await self._answer(call, endpoint)
            except Exception as error:
                call.entry.error = _raised_in(error)
                response = self._dialect.error(500)
            call.entry.status = response.status if call.entry.status is None else call.entry.status
            call.entry.duration_ms = round((self._world.clock.monotonic() - started) * 1000, 1)
            self._world.requests.answered(call.entry)
            if (file := self._world.settings.record) is not None:
                record_call(file, call.entry, response)
            return response

        return guarded

    async def _receive(self, request: web.Request, operation: str) -> ApiCall:
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
        return ApiCall(self._world, request, operation, body, entry)

    async def _answer(self, call: ApiCall, endpoint: Endpoint) -> web.StreamResponse:
        if fault := self._fault(call, before_checks=True):
            return refuse(call, fault, self._dialect)
        if refused := self._check(call, endpoint):
            return refused
        meter = self._world.limits[self._product]
        try:
            heavy = endpoint.heavy(call) if callable(endpoint.heavy) else endpoint.heavy
            weight = endpoint.weight(call) if callable(endpoint.weight) else endpoint.weight
            if refusal := meter.admit(weight, heavy=heavy):
                return self._refused(call, refusal)
            try:
                return await self._act(call, endpoint)
            finally:
                meter.leave(heavy=heavy)
        except NotJson:
            return self._dialect.bad_json(call)

    async def _act(self, call: ApiCall, endpoint: Endpoint) -> web.StreamResponse:
        fault = self._fault(call, before_checks=False)
        if fault and not fault.after and (cut := await inject_before(call, fault)):
            return cut
        response = await endpoint.handler(call)
        call.entry.done = True
        self._dialect.decorate(call, response)
        if fault and fault.after:
            return await inject_after(call, fault, response)
        return response

    def _fault(self, call: ApiCall, *, before_checks: bool) -> Fault | None:
        fault = self._world.faults.take(
            self._product,
            call.operation,
            call.request.method,
            self._relative(call.request),
            call.body,
            before_checks=before_checks,
        )
        if fault:
            call.entry.fault = fault.kind
        return fault

    def _check(self, call: ApiCall, endpoint: Endpoint) -> web.Response | None:
        if endpoint.token:
            call.token = live_token(self._world, call.request.headers.get("Authorization", ""))
            if call.token is None:
                return self._dialect.invalid_token(call)
            granted = str(call.token.get("scope", "")).split(",")
            if not all(scope_granted(granted, needed) for needed in endpoint.scope):
                return self._dialect.scope_mismatch(call)
        if endpoint.organization:
            return self._dialect.check_organization(call)
        return None

    def _refused(self, call: ApiCall, refusal: Refusal) -> web.Response:
        match refusal:
            case Refusal.MINUTE:
                return self._dialect.minute_limit(call)
            case Refusal.DAY:
                return self._dialect.day_limit(call)
            case Refusal.CONCURRENCY:
                return self._dialect.concurrency(call)

    def _relative(self, request: web.Request) -> str:
        return "/" + "/".join(request.path.strip("/").split("/")[self._prefix_segments :])


def _raised_in(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(frame.filename).name}:{frame.lineno}"


def _readable(body: bytes) -> Any:
    if not body:
        return None
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.decode(errors="replace")
