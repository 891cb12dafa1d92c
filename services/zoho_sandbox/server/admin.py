"""The calls for drivers, under `/_sandbox`: what Zoho holds, what goes wrong, what staff do.

A product adds its own with `AdminRoutes`: what Zoho does by itself and what people do in its
screens. No token is asked for; the sandbox listens on the loopback address unless told otherwise.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import orjson
from aiohttp import web

from services.zoho_sandbox.server.faults import UnknownFault
from services.zoho_sandbox.server.webhook_delivery import Misbehaviour
from services.zoho_sandbox.server.world import World

AdminHandler = Callable[[web.Request, dict[str, Any]], Awaitable[Any]]


class NoSuchRecord(LookupError):
    """A driver named a record that the sandbox does not hold: 404."""


class AdminRoutes:
    """Adds admin calls: handlers take the request and its JSON body, and return what to answer."""

    def __init__(self, app: web.Application) -> None:
        self._app = app

    def add(self, method: str, path: str, handler: AdminHandler) -> None:
        async def answered(request: web.Request) -> web.Response:
            raw = await request.read()
            try:
                body = orjson.loads(raw) if raw else {}
                return _json(await handler(request, body))
            except NoSuchRecord as error:
                return _json({"error": str(error)}, status=404)
            except (UnknownFault, ValueError, KeyError, TypeError) as error:
                return _json({"error": f"{type(error).__name__}: {error}"}, status=400)

        self._app.router.add_route(method, f"/_sandbox{path}", answered)


def add_routes(app: web.Application, world: World) -> None:
    calls = _Calls(world)
    routes = AdminRoutes(app)
    routes.add("GET", "/state", calls.state)
    routes.add("POST", "/load", calls.load)
    routes.add("GET", "/requests", calls.requests)
    routes.add("GET", "/faults", calls.faults)
    routes.add("POST", "/faults", calls.add_fault)
    routes.add("DELETE", "/faults", calls.clear_faults)
    routes.add("GET", "/limits", calls.limits)
    routes.add("PUT", "/limits", calls.set_limits)
    routes.add("PUT", "/lag", calls.set_lag)
    routes.add("PUT", "/targets", calls.set_targets)
    routes.add("POST", "/webhooks", calls.misbehave)
    routes.add("GET", "/deliveries", calls.deliveries)
    routes.add("POST", "/reset", calls.reset)


class _Calls:
    def __init__(self, world: World) -> None:
        self._world = world

    async def state(self, request: web.Request, body: dict[str, Any]) -> Any:
        return self._world.state()

    async def load(self, request: web.Request, body: dict[str, Any]) -> Any:
        return {"loaded": self._world.load(body)}

    async def requests(self, request: web.Request, body: dict[str, Any]) -> Any:
        """`since` is a time in ISO 8601, or the id of the last request already seen.

        `wait_s` waits that long for a change when nothing matches yet; `held=true` selects those
        that are held just now.
        """
        wait_until = self._world.clock.monotonic() + float(request.query.get("wait_s", 0))
        while True:
            found = self._matching(request)
            left_s = wait_until - self._world.clock.monotonic()
            if found or left_s <= 0:
                return [entry.as_json() for entry in found]
            await self._world.requests.changed(left_s)

    def _matching(self, request: web.Request) -> list[Any]:
        since = request.query.get("since", "0")
        found = self._world.requests.find(
            product=request.query.get("product"),
            operation=request.query.get("operation"),
            after_id=int(since) if since.isdigit() else 0,
            since=None if since.isdigit() else _utc(since),
        )
        if request.query.get("held") == "true":
            found = [entry for entry in found if entry.held is not None]
        if request.query.get("answered") == "true":
            found = [entry for entry in found if entry.status is not None]
        return found

    async def faults(self, request: web.Request, body: dict[str, Any]) -> Any:
        return self._world.faults.as_json()

    async def add_fault(self, request: web.Request, body: dict[str, Any]) -> Any:
        return self._world.faults.add(body).as_json()

    async def clear_faults(self, request: web.Request, body: dict[str, Any]) -> Any:
        self._world.faults.clear()
        return {"cleared": True}

    async def limits(self, request: web.Request, body: dict[str, Any]) -> Any:
        return self._world.limits.as_json()

    async def set_limits(self, request: web.Request, body: dict[str, Any]) -> Any:
        for product, changes in _by_product(body).items():
            self._world.limits.change(product, changes)
        return self._world.limits.as_json()

    async def set_lag(self, request: web.Request, body: dict[str, Any]) -> Any:
        for product, seconds in body.items():
            if product not in self._world.lag_s:
                raise ValueError(f"unknown product: {product}")
            self._world.lag_s[product] = float(seconds)
        return self._world.lag_s

    async def set_targets(self, request: web.Request, body: dict[str, Any]) -> Any:
        """Per product an object or a list of `{url, secret?, …}`; other fields are its options."""
        self._world.webhooks.aim(body)
        self._world.note_change()
        return {product: len(self._world.webhooks.targets(product)) for product in body}

    async def misbehave(self, request: web.Request, body: dict[str, Any]) -> Any:
        self._world.webhooks.misbehaviour = Misbehaviour(
            drop=float(body.get("drop", 0)),
            duplicate=float(body.get("duplicate", 0)),
            shuffle=bool(body.get("shuffle", False)),
            delay_s=float(body.get("delay_s", 0)),
        )
        return self._world.webhooks.misbehaviour.__dict__

    async def deliveries(self, request: web.Request, body: dict[str, Any]) -> Any:
        return [delivery.as_json() for delivery in self._world.webhooks.deliveries()]

    async def reset(self, request: web.Request, body: dict[str, Any]) -> Any:
        self._world.reset()
        return {"reset": True}


def _by_product(body: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """`{billing: {minute: 5}}`, or flat: `{product: billing, minute: 5}`."""
    if "product" in body:
        return {body["product"]: {name: body[name] for name in body if name != "product"}}
    return body


def _utc(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(value), content_type="application/json")
