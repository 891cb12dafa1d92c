"""One request inside the sandbox, and how a product says no to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson
from aiohttp import web

from services.zoho_sandbox.server.request_log import LoggedRequest
from services.zoho_sandbox.server.world import World


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


EndpointHandler = Callable[[Call], Awaitable[web.StreamResponse]]


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
