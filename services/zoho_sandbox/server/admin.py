"""Serve the admin API under `/_sandbox`: state, faults, limits, webhook targets.

A product adds its own calls with `AdminRoutes`: actions of Zoho itself and of people in its
screens. No token is needed. The sandbox listens on the loopback address unless configured
otherwise.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import orjson
from aiohttp import web

from services.zoho_sandbox.server.behaviour import Behaviour
from services.zoho_sandbox.server.faults import UnknownFault
from services.zoho_sandbox.server.webhook_delivery import DeliveryFaults
from services.zoho_sandbox.server.world import World

AdminHandler = Callable[[web.Request, dict[str, Any]], Awaitable[Any]]


class NoSuchRecord(LookupError):
    """The driver named a record that the sandbox does not have: 404."""


class AdminRoutes:
    """Adds admin calls. Handlers take the request and its JSON body, and return the answer's."""

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
    endpoints = AdminEndpoints(world)
    routes = AdminRoutes(app)
    routes.add("GET", "/state", endpoints.state)
    routes.add("POST", "/load", endpoints.load)
    routes.add("GET", "/requests", endpoints.requests)
    routes.add("GET", "/faults", endpoints.faults)
    routes.add("POST", "/faults", endpoints.add_fault)
    routes.add("DELETE", "/faults", endpoints.clear_faults)
    routes.add("GET", "/limits", endpoints.limits)
    routes.add("PUT", "/limits", endpoints.set_limits)
    routes.add("PUT", "/lag", endpoints.set_lag)
    routes.add("PUT", "/behaviour", endpoints.set_behaviour)
    routes.add("PUT", "/targets", endpoints.set_targets)
    routes.add("POST", "/webhooks", endpoints.set_delivery_faults)
    routes.add("GET", "/deliveries", endpoints.deliveries)
    routes.add("POST", "/reset", endpoints.reset)


class AdminEndpoints:
    """Handlers of the admin calls that concern all products."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def state(self, request: web.Request, body: dict[str, Any]) -> Any:
        return self._world.state()

    async def load(self, request: web.Request, body: dict[str, Any]) -> Any:
        return {"loaded": self._world.load(body)}

    async def requests(self, request: web.Request, body: dict[str, Any]) -> Any:
        """List requests. `since` is a time in ISO 8601, or the id of the last request seen.

        `wait_s` waits that long for a change while nothing matches. `held=true` selects the
        requests that are held just now.
        """
        wait_until = self._world.clock.monotonic() + float(request.query.get("wait_s", 0))
        while True:
            matching = self._matching(request)
            left_s = wait_until - self._world.clock.monotonic()
            if matching or left_s <= 0:
                return [entry.as_json() for entry in matching]
            await self._world.requests.changed(left_s)

    def _matching(self, request: web.Request) -> list[Any]:
        since = request.query.get("since", "0")
        entries = self._world.requests.find(
            product=request.query.get("product"),
            operation=request.query.get("operation"),
            after_id=int(since) if since.isdigit() else 0,
            since=None if since.isdigit() else _utc(since),
        )
        if request.query.get("held") == "true":
            entries = [entry for entry in entries if entry.held is not None]
        if request.query.get("answered") == "true":
            entries = [entry for entry in entries if entry.status is not None]
        return entries

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

    async def set_behaviour(self, request: web.Request, body: dict[str, Any]) -> Any:
        """Change the switches named in the body. The others stay."""
        switches = {**self._world.behaviour.model_dump(), **body}
        self._world.behaviour = Behaviour.model_validate(switches)
        return self._world.behaviour.model_dump()

    async def set_targets(self, request: web.Request, body: dict[str, Any]) -> Any:
        """Set each product's target, or a list of them: `{url, secret?}` and its options."""
        self._world.webhooks.set_targets(body)
        self._world.targets_changed()
        return {product: len(self._world.webhooks.targets(product)) for product in body}

    async def set_delivery_faults(self, request: web.Request, body: dict[str, Any]) -> Any:
        self._world.webhooks.delivery_faults = DeliveryFaults(
            drop=float(body.get("drop", 0)),
            duplicate=float(body.get("duplicate", 0)),
            shuffle=bool(body.get("shuffle", False)),
            delay_s=float(body.get("delay_s", 0)),
        )
        return self._world.webhooks.delivery_faults.__dict__

    async def deliveries(self, request: web.Request, body: dict[str, Any]) -> Any:
        return [delivery.as_json() for delivery in self._world.webhooks.deliveries()]

    async def reset(self, request: web.Request, body: dict[str, Any]) -> Any:
        self._world.reset()
        return {"reset": True}


def _by_product(body: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return limits by product from `{billing: {minute: 5}}` or `{product: billing, minute: 5}`."""
    if "product" in body:
        return {body["product"]: {name: body[name] for name in body if name != "product"}}
    return body


def _utc(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(value), content_type="application/json")
