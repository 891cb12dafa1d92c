"""Take and give back permits to call Zoho, from the quota ledger that all replicas share."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import asyncpg

from shared.errors import RateLimited
from shared.exponential_backoff import jittered_s
from shared.storage.clock import DatabaseClock, database_clock
from shared.storage.pool import PooledConnection, is_down, unavailable_when_down
from shared.zoho import waits
from shared.zoho.quota import ledger
from shared.zoho.quota.call import Call
from shared.zoho.quota.ledger import QuotaFeedback
from shared.zoho.quota.limits import QuotaLimits
from shared.zoho.quota.priority import Priority
from shared.zoho.quota.reservations import Reservations, reservation_of

__all__ = ["Decision", "Permit", "Quota", "QuotaFeedback"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

_LATER_S = 0.01


@dataclass
class Permit:
    """The right to write one request.

    `write_until` (`time.monotonic()`): past it the request is refused with `Unavailable`
    (code `too_late`) before a byte is written. Whoever holds the permit may make it earlier.
    `deadline`: past it the ledger assumes that the call is dead, so the request must be over by
    then. `trial`: this is the first call after a breaker's pause. It shows whether the cause of the
    pause is gone. `spent`: the permit was used or given back.
    """

    id: int
    call: Call
    write_until: float
    deadline: float
    trial: bool = False
    spent: bool = False

    def write_within(self, seconds: float) -> None:
        """Refuse to write the request later than `seconds` from now. Never extends."""
        self.write_until = min(self.write_until, time.monotonic() + seconds)


@dataclass(frozen=True)
class Decision:
    """One decision of the ledger, for metrics. `waited_s` counts from the caller's request."""

    call: Call
    granted: bool
    waited_s: float
    calls_left: int | None
    credits_left: int | None


class Quota:
    """Takes and gives back permits. One per process. Any number of processes.

    `limits` by product. `observe` sees every decision that ended a wait. `called`: organizations
    and products that permits were asked for. `longest_wait_s`: how long `take` waits for a permit.
    `note_within_s`: how long a release waits for the ledger, which must not hold up an answer of
    Zoho's. The ledger's update then goes on in the background.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        limits: Mapping[str, QuotaLimits],
        *,
        observe: Callable[[Decision], None] = lambda _: None,
        longest_wait_s: float = waits.IN_PLACE_S,
        note_within_s: float = 2.0,
        clock: DatabaseClock = database_clock,
        reservations: Reservations | None = None,
    ) -> None:
        self._pool = pool
        self._reservations = reservations
        self._limits = limits
        self._observe = observe
        self._longest_wait_s = longest_wait_s
        self._note_within_s = note_within_s
        self._clock = clock
        self.called: set[tuple[str, str]] = set()
        # By organization and product.
        self._notes: defaultdict[tuple[str, str], set[asyncio.Task[Any]]] = defaultdict(set)
        # In this process one caller of each priority asks the ledger at a time. While it is refused
        # the others would be refused too.
        self._turns: defaultdict[tuple[str, str, Priority], asyncio.Lock] = defaultdict(
            asyncio.Lock
        )

    async def rehearse(self, connection: PooledConnection) -> None:
        """Decide, reserve and take for nobody, in a transaction that the caller undoes."""
        product, limits = next(iter(self._limits.items()))
        await ledger.rehearse(connection, product, limits)
        if self._reservations is not None:
            await self._reservations.rehearse(connection, product)

    async def take(self, call: Call, *, write_within_s: float) -> Permit:
        """Wait for a permit, but not long.

        The request must be written within `write_within_s`, and be over `call.timeout_s` later.
        Raises:
            RateLimited: the limit that it names is used up for longer than `longest_wait_s`.
            Unavailable: the database cannot be reached.
        """
        began = time.monotonic()
        self.called.add((call.org, call.product))
        turn = self._turns[call.org, call.product, call.priority]
        try:
            async with asyncio.timeout(max(self._longest_wait_s, 1.0)):
                await turn.acquire()
        except TimeoutError:
            raise self._refused(call, "concurrency", self._longest_wait_s) from None
        try:
            return await self._take(call, write_within_s, began)
        finally:
            turn.release()

    async def _take(self, call: Call, write_within_s: float, began: float) -> Permit:
        deadline_s = write_within_s + call.timeout_s
        while True:
            # Read before asking, so that the permit's deadline here is before the ledger's.
            asked = time.monotonic()
            row = await self._decide(call, deadline_s)
            waited_s = time.monotonic() - began
            granted = row["permit"] is not None
            is_brief = row["used_up"] == "concurrency" and waited_s < self._longest_wait_s
            if is_brief and await self._noted(call):
                continue  # it may have been refused for a call that is over
            if granted or waited_s + row["wait_s"] > self._longest_wait_s:
                self._observe(
                    Decision(call, granted, waited_s, row["calls_left"], row["credits_left"])
                )
                if not granted:
                    raise self._refused(call, row["used_up"], row["wait_s"])
                return Permit(row["permit"], call, asked + write_within_s, asked + deadline_s)
            # A little late and uneven, so that replicas do not ask in step.
            await asyncio.sleep(row["wait_s"] + jittered_s(_LATER_S))

    async def _decide(self, call: Call, deadline_s: float) -> Any:
        reserved = await self._take_reserved(call, deadline_s)
        if reserved is not None:
            return reserved
        with unavailable_when_down():
            return await ledger.decide(
                self._pool, call, self._limits[call.product], deadline_s, self._clock()
            )

    async def _take_reserved(self, call: Call, deadline_s: float) -> Mapping[str, Any] | None:
        """The decision about a reserved call; None when nothing is, or is left, reserved."""
        reservation = reservation_of(call.product)
        if self._reservations is None or reservation is None:
            return None
        taken = await self._reservations.take(
            reservation,
            call.product,
            call.priority,
            weight=call.weight,
            heavy=call.heavy,
            deadline_s=deadline_s,
        )
        if taken.used_up == "reservation":
            return None
        return {**taken._asdict(), "calls_left": None, "credits_left": None}

    async def release(self, permit: Permit, feedback: QuotaFeedback) -> QuotaFeedback:
        """Count a request that was written, answered or not, for one window from now.

        Returns the feedback, corrected by what the ledger knows of earlier refusals. Never raises,
        because an answer of Zoho's is worth more than our count of it.
        """
        permit.spent = True
        noting = self._note_answer(permit, feedback)
        return await self._note_soon(permit.call, noting, otherwise=feedback)

    def release_soon(self, permit: Permit, feedback: QuotaFeedback) -> None:
        """`release` in the background, for an answer that names no limit: nothing can correct it.

        The permit is in flight for as long as that takes.
        """
        permit.spent = True
        self._note(permit.call, self._note_answer(permit, feedback))

    async def idle(self) -> None:
        """Return once all that was released is noted, or after `note_within_s`."""
        notes = [note for of_product in self._notes.values() for note in of_product]
        if notes:
            await asyncio.wait(notes, timeout=self._note_within_s)

    async def _noted(self, call: Call) -> bool:
        """Wait for what this process still notes of the product. False: it notes nothing."""
        notes = self._notes[call.org, call.product]
        if not notes:
            return False
        await asyncio.wait([*notes], timeout=self._note_within_s)
        return True

    async def give_back(self, permit: Permit) -> None:
        """Return a permit whose request was not written, so that it does not count.

        Never raises. If the ledger cannot be reached, the permit ends at its deadline.
        """
        if permit.spent:
            return
        permit.spent = True
        await self._note_soon(permit.call, self._note_nothing_written(permit), otherwise=None)

    async def _note_answer(self, permit: Permit, feedback: QuotaFeedback) -> QuotaFeedback:
        call = permit.call
        limits = self._limits[call.product]
        with self._noting():
            async with self._pool.acquire() as connection:
                await ledger.note_answer(
                    connection, permit.id, call, feedback, limits, self._clock()
                )
                if feedback.limit is None:
                    return feedback
                row = await ledger.note_refusal(connection, call, feedback, limits, self._clock())
                return replace(feedback, limit=row["used_up"], wait_s=row["wait_s"])
        return feedback

    async def _note_nothing_written(self, permit: Permit) -> None:
        with self._noting():
            await ledger.note_nothing_written(self._pool, permit.id)

    async def _note_soon(self, call: Call, noting: Coroutine[Any, Any, T], *, otherwise: T) -> T:
        """Return the note's result if it comes within `note_within_s`, else `otherwise`.

        The note is a task of its own, which goes on in the background. So it is made even when this
        process was suspended for a while, or when the caller is cancelled.
        """
        task = self._note(call, noting)
        await asyncio.wait({task}, timeout=self._note_within_s)
        return task.result() if task.done() else otherwise

    def _note(self, call: Call, noting: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(noting, name="note quota")
        notes = self._notes[call.org, call.product]
        notes.add(task)

        def done(noted: asyncio.Task[T]) -> None:
            notes.discard(noted)
            if not noted.cancelled() and (error := noted.exception()) is not None:
                _log.error("quota not noted", extra={"error": type(error).__name__})

        task.add_done_callback(done)
        return task

    @contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not is_down(error):
                raise
            _log.warning("quota not noted", extra={"error": type(error).__name__})

    def _refused(self, call: Call, limit: str, wait_s: float) -> RateLimited:
        return RateLimited(
            f"the {limit} limit of {call.product} is used up",
            retry_after_s=wait_s,
            product=call.product,
            limit=limit,
        )
