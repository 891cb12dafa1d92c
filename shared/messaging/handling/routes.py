"""The table of contents of a service: which message goes to which handler, and how urgently."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from pydantic import BaseModel

from shared.messaging.handling.unit_of_work import UnitOfWork

COMMANDS = "zoho.commands"
WEBHOOKS = "zoho.webhooks"
EVENTS = "zoho.events"
UNROUTED = "zoho.unrouted"

READ_EXPIRES_S = 600.0
"""A reply lives this long at the broker, so a read that is older answers nobody."""


class MessagePriority(IntEnum):
    """The order in which messages are worked off, the most urgent first."""

    PAYMENTS = 0  # payments and cancellations
    COMMANDS = 1
    READS = 2
    BACKFILL = 3  # backfill and audits


@dataclass(frozen=True, slots=True)
class Route:
    """A contract and the handler of its messages: `await handle(message, work)`.

    The handler reads, asks Zoho, and records on `work`, and the dispatcher commits.

    Args:
        calls: by product, the fewest calls to Zoho that the handler makes. They are reserved before
            the work starts. Empty: the handler asks nothing of Zoho, or may find nothing to do.
        records: the kinds of facts that this message may record. A wait for such a fact does not
            count towards its end while a message of this route is open.
        expires_s: the age at which a read is of no use to anybody any more.
        lingers: the handler only records what something else does later. So intake may wait a
            moment (`LINGER_S`) for others to store it with.
    """

    model: type[BaseModel]
    handle: Callable[[Any, UnitOfWork], Awaitable[None]]
    priority: MessagePriority = MessagePriority.COMMANDS
    calls: Mapping[str, int] = field(default_factory=dict)
    records: tuple[str, ...] = ()
    expires_s: float | None = None
    lingers: bool = False


@dataclass(frozen=True, slots=True)
class Routes:
    """What a service handles, by exchange and routing key. Its queues are bound to these keys.

    A key of webhooks or events may be a topic pattern (`billing.#`), an exact key wins.
    `unrouted`: this service answers the commands that no queue takes.
    """

    commands: Mapping[str, Route] = field(default_factory=dict)
    webhooks: Mapping[str, Route] = field(default_factory=dict)
    events: Mapping[str, Route] = field(default_factory=dict)
    unrouted: bool = False

    def by_exchange(self) -> Mapping[str, Mapping[str, Route]]:
        return {COMMANDS: self.commands, WEBHOOKS: self.webhooks, EVENTS: self.events}

    def find(self, exchange: str, routing_key: str) -> Route | None:
        """The route of a message: by its exact key, else by the first pattern that matches it."""
        key = self.key_of(exchange, routing_key)
        return None if key is None else self.by_exchange()[exchange][key]

    def lingers(self, exchange: str, routing_key: str) -> bool:
        """Whether a message may wait a moment before it is stored."""
        route = self.find(exchange, routing_key)
        return route is not None and route.lingers

    def key_of(self, exchange: str, routing_key: str) -> str | None:
        """The key in the table of routes that a routing key belongs to."""
        table = self.by_exchange().get(exchange, {})
        if routing_key in table:
            return routing_key
        words = routing_key.split(".")
        for pattern in table:
            if ("*" in pattern or "#" in pattern) and _matches(pattern.split("."), words):
                return pattern
        return None

    def keys(self) -> Iterator[str]:
        """All keys and patterns."""
        for table in self.by_exchange().values():
            yield from table

    def items(self) -> Iterator[tuple[str, Route]]:
        for table in self.by_exchange().values():
            yield from table.items()


def _matches(pattern: list[str], words: list[str]) -> bool:
    """AMQP topic matching: `*` is one word, `#` any number of them."""
    if not pattern:
        return not words
    head, rest = pattern[0], pattern[1:]
    if head == "#":
        return any(_matches(rest, words[i:]) for i in range(len(words) + 1))
    return bool(words) and head in ("*", words[0]) and _matches(rest, words[1:])
