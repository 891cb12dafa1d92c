"""Give up the messages whose wait has ended, each under its own code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import structlog

from shared.background import PeriodicTask
from shared.messaging.dispatch.attempt import Attempts
from shared.messaging.dispatch.reservations import CallBudget
from shared.messaging.handling.routes import MessagePriority
from shared.messaging.inbox.waits import BehindSince, WaitEnds, WaitHolds
from shared.observability import logs

_log = structlog.get_logger(__name__)

_LIMIT: Final = 64

# Facts that another product than the waiting message's own must answer for: the first of these that
# handlers call. Without Books, invoices are Billing's.
_PRODUCTS_OF_FACT: Final[Mapping[str, tuple[str, ...]]] = {
    "contact": ("crm",),
    "escalation": ("desk",),
    "invoice": ("books", "billing"),
    "payment": ("billing",),
    "subscription": ("billing",),
}

# At this priority facts are recorded. What refuses only those below it pauses no fact.
_RECORDED_AT: Final = MessagePriority.COMMANDS

# A user signs up in their own line, so only what stands there can end a wait for the user.
_RECORDED_IN_ITS_OWN_LINE: Final = ("user",)


class EndsOfWaits(PeriodicTask):
    """Counts waits every second or so, for as long as its context is entered.

    An end counts only time in which the wait could have ended. It does not count while intake is
    behind, while the product of the fact is paused, while whoever else records it is behind, or
    while a message is open that may record it. A message that cannot be given up, for want of a
    key, is tried again when its claim has lapsed.

    `recorders`: by the kind of fact that something else than a message records, such as a flusher.
    """

    def __init__(
        self,
        ends: WaitEnds,
        attempts: Attempts,
        budget: CallBudget,
        *,
        orgs: frozenset[str],
        behind: Callable[[], bool],
        recorders: Mapping[str, BehindSince],
        every_s: float = 1.0,
    ) -> None:
        super().__init__("end waits", every_s=every_s)
        self._ends = ends
        self._attempts = attempts
        self._budget = budget
        self._orgs = orgs
        self._behind = behind
        self._recorders = recorders

    async def _run_once(self) -> bool:
        return await self._end_due() >= _LIMIT

    async def _end_due(self) -> int:
        ended = await self._ends.end_due(await self._holds(), limit=_LIMIT)
        failed = 0
        an_error: dict[str, object] = {}
        for message in sorted(ended, key=lambda message: not message.body):  # large ones last
            code, reason = message.code or "wait_ended", message.reason or "its wait is over"
            try:
                await self._attempts.give_up(message, code, reason)
            except Exception as error:  # the others of its group end nevertheless
                failed += 1
                an_error = {"routing_key": message.routing_key, **logs.describe(error)}
        if failed:  # in one line: it may be thousands, again every minute
            _log.error("messages whose wait is over cannot be given up", count=failed, **an_error)
        return len(ended)

    async def _holds(self) -> WaitHolds:
        closed = {
            (closed.org, closed.product)
            for closed in self._budget.closed()
            if closed.priority <= _RECORDED_AT
        }
        paused = [
            (org, kind)
            for org in self._orgs
            for kind, products in _PRODUCTS_OF_FACT.items()
            if (org, self._first_called(products)) in closed
        ]
        behind = [
            (org, kind, since)
            for org in self._orgs
            for kind, behind_since in self._recorders.items()
            if (since := await behind_since(org)) is not None
        ]
        return WaitHolds(
            intake_behind=self._behind(),
            paused=paused,
            behind=behind,
            same_line=_RECORDED_IN_ITS_OWN_LINE,
        )

    def _first_called(self, products: tuple[str, ...]) -> str:
        called = self._budget.limits
        return next((product for product in products if product in called), products[0])
