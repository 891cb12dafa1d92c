"""Waiting: through an outage of the database, or for a turn."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar

from shared.errors import Unavailable
from shared.messaging.consuming.attempt import Abandoned, Attempt

T = TypeVar("T")

DATABASE_UNAVAILABLE: Final = "database_unavailable"
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 5.0


async def retry_until_database_returns(
    operation: Callable[[], Awaitable[T]], attempt: Attempt, *, claimed: bool
) -> T:
    """Repeat until the database answers.

    The message stays where it is: its prefetch slot is what stops more from being taken, so an
    outage spends no attempts and publishes nothing. One that is not `claimed` yet is let go when
    its channel is lost or the service stops.

    Raises:
        Abandoned: let go.
        Unavailable: for another reason than the database.
    """
    pause_s = _FIRST_PAUSE_S
    while True:
        try:
            return await operation()
        except Unavailable as error:
            if error.code != DATABASE_UNAVAILABLE:
                raise  # a key that is missing: nothing that a moment cures
            if not claimed and (attempt.gone.is_set() or attempt.send_back.is_set()):
                raise Abandoned from None
        # Spread out, so that replicas do not knock in step.
        await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311
        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)


async def wait_for(event: asyncio.Event, timeout_s: float) -> bool:
    """True once the event is set, False after `timeout_s`."""
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
    return event.is_set()


class TurnNotifier:
    """Wakes those who wait for a turn, within this process; what others do is found by asking."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, list[tuple[int, asyncio.Event]]] = {}

    async def wait(self, what: Hashable, order: int, timeout_s: float) -> None:
        """Return when it may be our turn, or after `timeout_s`."""
        entry = (order, asyncio.Event())
        self._waiting.setdefault(what, []).append(entry)
        try:
            await wait_for(entry[1], timeout_s)
        finally:
            waiting = self._waiting[what]
            waiting.remove(entry)
            if not waiting:
                del self._waiting[what]

    def wake_first(self, what: Hashable) -> None:
        """Wake the one of the lowest order: the others are behind it."""
        waiting = self._waiting.get(what)
        if waiting:
            min(waiting, key=lambda entry: entry[0])[1].set()

    def wake_all(self, what: Hashable) -> None:
        for _, event in self._waiting.get(what, ()):
            event.set()


@dataclass
class WaitSlot:
    """A place to wait in; `lost` once somebody who is served sooner has taken it."""

    order: int
    lost: bool = False


class BoundedWaiters:
    """A number of seats. When all are taken, whoever comes later in the order gives up theirs.

    So those who wait in place are those whose turn is next, and a long line moves on as fast as
    they are done, not once in every delayed retry.
    """

    def __init__(self, seats: int) -> None:
        self._most = seats
        self._taken: list[WaitSlot] = []

    def seat(self, order: int) -> WaitSlot | None:
        """A seat, or None when all are taken by those who come sooner."""
        if len(self._taken) >= self._most:
            last = max(self._taken, key=lambda seat: seat.order)
            if last.order <= order:
                return None
            last.lost = True
            self._taken.remove(last)
        seat = WaitSlot(order)
        self._taken.append(seat)
        return seat

    def leave(self, seat: WaitSlot) -> None:
        if not seat.lost:
            self._taken.remove(seat)
