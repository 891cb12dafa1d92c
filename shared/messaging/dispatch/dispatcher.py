"""Lease messages that are due, as many as there are free slots, and run an attempt at each."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

import structlog

from shared.background import Background, wait_for
from shared.errors import Unavailable
from shared.lease_in_hand import LeaseInHand, holding
from shared.messaging.dispatch.attempt import Attempts
from shared.messaging.dispatch.held_slots import HeldSlots
from shared.messaging.dispatch.renewal import LeaseRenewal
from shared.messaging.dispatch.reservations import CallBudget, ClosedProduct, Pause
from shared.messaging.dispatch.slots import Slots
from shared.messaging.dispatch.wakeup import Wakeup
from shared.messaging.handling.routes import Routes
from shared.messaging.inbox.arrived_message import ArrivedMessage
from shared.messaging.inbox.leasing_at_once import LeaseTerms, SlotOffer
from shared.messaging.inbox.lines import DueState, LeasedMessage, Lines

_log = structlog.get_logger(__name__)

_PAUSE_S: Final = 0.5
_LASTING: Final = 10


class _Refusal(NamedTuple):
    until: float
    limit: str


class Dispatcher(Background):
    """One in each replica, for as long as its context is entered.

    It never leases more than it has free slots for. A product that the ledger refuses is closed for
    this dispatcher until the time that the ledger named, and one whose breaker is open is passed
    over, so nothing is leased only to wait.
    """

    def __init__(
        self,
        lines: Lines,
        routes: Routes,
        attempts: Attempts,
        renewal: LeaseRenewal,
        wakeup: Wakeup,
        budget: CallBudget,
        *,
        orgs: frozenset[str],
        slots: int,
        lease_s: float,
    ) -> None:
        super().__init__("dispatch")
        self._lines = lines
        # Nothing is reserved of a product without limits, but its breaker counts all the same.
        self._calls = {
            key: {
                product: calls if product in budget.limits else 0
                for product, calls in route.calls.items()
            }
            for key, route in routes.items()
        }
        self._attempts = attempts
        self._renewal = renewal
        self._wakeup = wakeup
        self._budget = budget
        self._slots = Slots(slots)
        self._orgs = orgs
        self._lease_s = lease_s
        self._terms = LeaseTerms(self._calls, budget.limits, lines.reservation_s, lease_s)
        self._offers = 0
        self._none_offered = asyncio.Event()
        self._none_offered.set()
        self._refused: dict[ClosedProduct, _Refusal] = {}
        self._running: dict[int, asyncio.Task[None]] = {}
        self._stopping = asyncio.Event()
        self._must_idle = False
        self._is_limited = True  # until the first lease has shown what there is
        self._moved = self._answering_since = time.monotonic()

    def stands(self, after_s: float) -> bool:
        """Whether it gets nothing done: it asks for no work, or none that it has comes to an end.

        An attempt may last, so the latter is only said after `_LASTING` times as long.
        """
        still_s = time.monotonic() - self._moved
        return still_s >= (after_s * _LASTING if self._running else after_s)

    @contextmanager
    def offer(self, group: Sequence[ArrivedMessage]) -> Iterator[SlotOffer]:
        """Hold a slot for each message that may be leased as it is stored. See `FreeSlots`."""
        asked_at = time.monotonic()
        held = HeldSlots(
            self._slots,
            group,
            self._terms,
            fits=self._fits(),
            start_one=lambda leased: self._start(leased, asked_at),
        )
        self._offers += 1
        self._none_offered.clear()
        try:
            yield held
        finally:
            if held.give_back() and self._is_limited:
                self._wakeup.set()  # a lease meanwhile may have left something for want of these
            self._offers -= 1
            if not self._offers:
                self._none_offered.set()

    def _fits(self) -> Callable[[ArrivedMessage], bool]:
        """Whether a message may be leased at once. None may while an older one may be due."""
        older_may_be_due = self._is_limited or self._must_idle or self._wakeup.is_set
        if older_may_be_due or self._stopping.is_set():
            return lambda _: False
        closed = {(each.org, each.product, each.priority) for each in self.closed()}

        def fits(message: ArrivedMessage) -> bool:
            calls = self._calls.get(message.route or message.routing_key)
            return (
                message.parsed is not None
                and message.org in self._orgs
                and calls is not None
                and not any((message.org, product, message.priority) in closed for product in calls)
            )

        return fits

    async def drain(self, timeout_s: float) -> None:
        """Lease nothing more. Finish what is in hand within `timeout_s`, then let go of it."""
        self._stopping.set()
        self._wakeup.set()
        end = time.monotonic() + timeout_s
        if self._task is not None:
            await asyncio.wait([self._task], timeout=timeout_s)
        # What intake stores just now may be leased with it.
        await wait_for(self._none_offered, max(0.0, end - time.monotonic()))
        running = [*self._running.values()]
        if running:
            await asyncio.wait(running, timeout=max(0.0, end - time.monotonic()))
        if unfinished := [task for task in running if not task.done()]:
            _log.warning("let go of unfinished messages", messages=len(unfinished))
            for task in unfinished:
                task.cancel()
            await asyncio.wait(unfinished)

    async def _run(self) -> None:
        while not self._stopping.is_set():
            self._moved = time.monotonic()
            if self._slots.free <= 0 or (self._must_idle and self._slots.taken):
                self._is_limited = True
                await self._slots.freed()
                continue
            try:
                if not await self._lease():
                    await self._until_due()
            except Unavailable as error:
                _log.warning("nothing is leased", code=error.code)
                await self._pause()
            except Exception:
                # A service that works on nothing any more is the worst that can happen here.
                _log.exception("leasing failed")
                await self._pause()

    async def _until_due(self) -> None:
        """Return when woken, or when something has come due without that."""
        state = DueState.LATER
        while not await self._wakeup.wait(idle=state is DueState.EMPTY):
            self._moved = time.monotonic()
            state = await self._lines.due_state()
            if state is DueState.DUE:
                return

    async def _pause(self) -> None:
        await asyncio.sleep(_PAUSE_S)
        self._answering_since = time.monotonic()

    async def _lease(self) -> bool:
        """Lease what is due and start it. Whether more may be due: it took all that it could."""
        asked_at = time.monotonic()
        limit = self._slots.free
        shares = self._slots.shares()
        self._is_limited = True  # for all that is known, while the answer is awaited
        lease = await self._lines.lease(
            slots=shares,
            limit=limit,
            routes=self._calls,
            orgs=self._orgs,
            closed=self.closed(),
            limits=self._budget.limits,
            lease_s=self._lease_s,
            idle=not self._slots.taken,
            answering_s=asked_at - self._answering_since,
        )
        for refused in lease.refusals:
            closed = ClosedProduct(refused.org, refused.product, refused.priority)
            self._refused[closed] = _Refusal(
                time.monotonic() + refused.retry_after_s, refused.limit
            )
            self._wakeup.set_after(refused.retry_after_s)
        # One that may kill its process runs with nothing beside it.
        self._must_idle = lease.alone_waits or any(message.alone for message in lease.messages)
        leased = Counter(message.priority for message in lease.messages)
        self._is_limited = len(lease.messages) >= limit or any(
            leased[priority] >= share for priority, share in shares.items()
        )
        for message in lease.messages:
            self._start(message, asked_at)
        # What was refused may have stood before what is not.
        return len(lease.messages) >= limit or bool(lease.messages and lease.refusals)

    def closed(self) -> list[ClosedProduct]:
        """The products that the ledger refuses, and those whose breaker is open."""
        self._forget_refusals(time.monotonic())
        return [*self._budget.closed(), *self._refused]

    def pauses(self) -> list[Pause]:
        """The same, with the limit or the cause, and for how long at least."""
        now = time.monotonic()
        self._forget_refusals(now)
        refused = [
            Pause(closed, refusal.limit, refusal.until - now)
            for closed, refusal in self._refused.items()
        ]
        return [*self._budget.pauses(), *refused]

    def _forget_refusals(self, now: float) -> None:
        self._refused = {closed: r for closed, r in self._refused.items() if r.until > now}

    def _start(self, leased: LeasedMessage, asked_at: float) -> None:
        self._slots.take(leased.priority)
        lease = self._renewal.hold(leased.arrived, leased.claim, asked_at)
        task = asyncio.create_task(self._work_on(leased, lease), name=f"attempt {leased.arrived}")
        self._running[leased.claim] = task

    async def _work_on(self, leased: LeasedMessage, lease: LeaseInHand) -> None:
        try:
            with holding(lease):
                await self._attempts.run(leased)
        except Exception:
            # Ours: settling itself failed. The lease lapses, and the message is leased again.
            _log.exception("an attempt could not be settled", routing_key=leased.routing_key)
        finally:
            self._renewal.drop(leased.arrived, leased.claim)
            del self._running[leased.claim]
            self._moved = time.monotonic()
            self._slots.give_back(leased.priority)
            if self._is_limited:
                self._wakeup.set()  # for want of this slot, something due may not have been leased
