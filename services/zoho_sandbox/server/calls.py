"""Describe one request inside the sandbox, and the refusals that each product words its own way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson
from aiohttp import web

from services.zoho_sandbox.server.request_log import LoggedRequest
from services.zoho_sandbox.server.world import World

JSON_TYPE = "application/json;charset=UTF-8"  # exactly so, on every answer of Zoho


def json_answer(body: Any, status: int = 200) -> web.Response:
    """Return JSON under the content type that Zoho sends."""
    return web.Response(status=status, body=orjson.dumps(body), headers={"Content-Type": JSON_TYPE})


class NotJson(ValueError):
    """The body is not a JSON object."""


@dataclass
class ApiCall:
    """One request being handled. `token` is the live token that it carries."""

    world: World
    request: web.Request
    operation: str
    body: bytes
    entry: LoggedRequest
    token: dict[str, Any] | None = None
    notes: dict[str, Any] = field(default_factory=dict)  # of the product, from check to handler

    def json(self) -> dict[str, Any]:
        """Return the JSON object of the body.

        Raises: NotJson: the body is something else, or empty.
        """
        try:
            value = orjson.loads(self.body)
        except orjson.JSONDecodeError as error:
            raise NotJson("the body is not JSON") from error
        if not isinstance(value, dict):
            raise NotJson("the body is not a JSON object")
        return value

    def path(self, name: str) -> str:
        """Return a part of the path, such as `customer_id`."""
        return self.request.match_info[name]

    def query(self, name: str, default: str = "") -> str:
        """Return a query parameter, unless a driver has made the product ignore it."""
        if self.world.behaviour.ignores(self.entry.product, name):
            return default
        return self.request.query.get(name, default)


EndpointHandler = Callable[[ApiCall], Awaitable[web.StreamResponse]]


class Dialect(Protocol):
    """A product's refusals: bodies, statuses and headers."""

    def error(self, status: int) -> web.Response:
        """Return the product's own body for an HTTP status, for the fault `status:NNN`."""
        ...

    def minute_limit(self, call: ApiCall) -> web.Response: ...
    def day_limit(self, call: ApiCall) -> web.Response: ...
    def concurrency(self, call: ApiCall) -> web.Response: ...
    def invalid_token(self, call: ApiCall) -> web.Response: ...
    def scope_mismatch(self, call: ApiCall) -> web.Response: ...
    def wrong_organization(self, call: ApiCall) -> web.Response: ...
    def user_disabled(self, call: ApiCall) -> web.Response: ...
    def pattern_not_matched(self, call: ApiCall) -> web.Response: ...
    def ok_with_error(self, call: ApiCall) -> web.Response: ...
    def unknown_url(self, call: ApiCall) -> web.Response: ...
    def wrong_method(self, call: ApiCall) -> web.Response: ...
    def bad_json(self, call: ApiCall) -> web.Response: ...

    def check_organization(self, call: ApiCall) -> web.Response | None:
        """Return the refusal when the request names an unknown organization. None lets it pass."""
        ...

    def decorate(self, call: ApiCall, response: web.StreamResponse) -> None:
        """Add the product's headers to an answer, such as its quota headers."""
        ...
