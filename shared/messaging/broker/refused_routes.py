"""Hold back what the broker refuses to take, by exchange and routing key.

A queue of a subscriber that is full and set to `reject-publish` makes the broker refuse an event
for all: it reaches the other subscribers, and is still not confirmed. Publishing it again and again
would give them copy after copy.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from shared.exponential_backoff import jittered_s

_FIRST_S: Final = 1.0
_LONGEST_S: Final = 300.0

Route = tuple[str, str]
"""Exchange and routing key."""


@dataclass(slots=True)
class _Hold:
    pause_s: float
    until: float
    is_tried: bool = False


class RefusedRoutes:
    """The routes that are held back. After each pause one message is tried, the others wait.

    Args:
        observe: called with a route for each refusal.
        freed: called with a route that the broker takes again.
    """

    def __init__(
        self, observe: Callable[[Route], None], freed: Callable[[Route], None] = lambda _: None
    ) -> None:
        self._observe = observe
        self._freed = freed
        self._holds: dict[Route, _Hold] = {}

    def held(self) -> list[Route]:
        """Those of which nothing may be published now."""
        now = time.monotonic()
        return [route for route, hold in self._holds.items() if hold.until > now]

    def may_go(self, route: Route) -> bool:
        """Whether a message may be published now. After a pause that is said once."""
        hold = self._holds.get(route)
        if hold is None:
            return True
        now = time.monotonic()
        if hold.until > now:
            return False
        # The others go on waiting while this one is tried.
        hold.until = now + hold.pause_s
        hold.is_tried = True
        return True

    def refused(self, route: Route) -> None:
        """The broker refused a message. What was in flight with it lengthens no pause."""
        self._observe(route)
        now = time.monotonic()
        hold = self._holds.setdefault(route, _Hold(_FIRST_S / 2, 0.0))
        if hold.is_tried or not hold.until:
            hold.pause_s = min(hold.pause_s * 2, _LONGEST_S)
            hold.until = now + jittered_s(hold.pause_s)
            hold.is_tried = False

    def taken(self, route: Route) -> None:
        if self._holds and self._holds.pop(route, None) is not None:
            self._freed(route)
