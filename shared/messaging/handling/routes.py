"""The table of contents of a service: which message goes to which handler, through which queue."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from shared.messaging.handling.gate import Gate
from shared.messaging.handling.unit_of_work import UnitOfWork

COMMANDS = "zoho.commands"
WEBHOOKS = "zoho.webhooks"
EVENTS = "zoho.events"
UNROUTED = "zoho.unrouted"

_EXCHANGE_OF_LANE = {"webhooks": WEBHOOKS, "events": EVENTS, "unrouted": UNROUTED}


@dataclass(frozen=True, slots=True)
class Route:
    """A contract and the handler of its messages: `await handle(message, work)`.

    The handler reads, asks Zoho, and records on `work`; the middleware commits. A command
    is done in the order of its ordering key, a message without `references()` (a webhook, an event)
    in none.
    """

    model: type[BaseModel]
    handle: Callable[[Any, UnitOfWork], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class QueueConfig:
    """One queue of a service, `<service>.<name>`, with its own consumer and prefetch.

    `name` is urgent, commands, reads, webhooks, events or unrouted (whose queue is `unrouted`, of
    one service only). `routes` maps routing keys to routes, and is what the queue is
    bound to; a key may be a topic pattern (`billing.#`), an exact key wins. `gate`: see gate.py.
    `max_bytes` bounds the bodies in flight: beyond it nothing more is taken until half is done.
    """

    name: str
    routes: Mapping[str, Route]
    prefetch: int = 32
    gate: Gate | None = None
    max_bytes: int = 16 * 1024 * 1024

    def queue(self, service: str) -> str:
        return "unrouted" if self.name == "unrouted" else f"{service}.{self.name}"

    @property
    def exchange(self) -> str:
        return _EXCHANGE_OF_LANE.get(self.name, COMMANDS)

    def route(self, routing_key: str) -> Route | None:
        """The route of a key: exact, else the first pattern that matches it."""
        key = self.key_of(routing_key)
        return None if key is None else self.routes[key]

    def key_of(self, routing_key: str) -> str | None:
        """The key in the table of routes that a routing key belongs to."""
        if routing_key in self.routes:
            return routing_key
        words = routing_key.split(".")
        for pattern in self.routes:
            if ("*" in pattern or "#" in pattern) and _matches(pattern.split("."), words):
                return pattern
        return None


def _matches(pattern: list[str], words: list[str]) -> bool:
    """AMQP topic matching: `*` is one word, `#` any number of them."""
    if not pattern:
        return not words
    head, rest = pattern[0], pattern[1:]
    if head == "#":
        return any(_matches(rest, words[i:]) for i in range(len(words) + 1))
    return bool(words) and head in ("*", words[0]) and _matches(rest, words[1:])
