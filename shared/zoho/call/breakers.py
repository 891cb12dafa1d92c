"""Breakers: while a cause holds that no call can get past, none is made and queues pause.

A cause of one operation refuses that operation's calls only: its messages wait, the queues go on.

One per organization, product and cause, in this process's memory: each process finds out with a
call of its own, and again after every pause. What all must know (Zoho's limits) is in the ledger.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import structlog

from shared.errors import IntegrationError, Misconfigured, Postponed, RateLimited, Unavailable
from shared.zoho import waits
from shared.zoho.quota.call import Call
from shared.zoho.quota.priority import Priority

_log = structlog.get_logger()

# Credentials are all products' at once. Asking again costs no call to Zoho, so it is not put off.
ACCOUNTS: Final = "accounts"
# One operation may lack a scope or a right that the others have.
_OF_ONE_OPERATION: Final = frozenset({"scope", "permission", "licence"})

# (organization, product, cause, is open)
BreakerObserver = Callable[[str, str, str, bool], None]


@dataclass(frozen=True)
class Scope:
    """The calls that one cause holds back.

    With `operation` or `priority` those of that one only, where not all are concerned.
    """

    org: str
    product: str
    cause: str
    operation: str = ""
    priority: Priority | None = None


@dataclass
class _Breaker:
    """Open. Past `until` one call is let through, to see. `trying_until` while it is under way,
    and not for ever: a trial that was called off must not be the last one.
    """

    scope: Scope
    error: IntegrationError
    until: float
    pause_s: float
    trying_until: float = 0.0

    def holds(self, now: float) -> bool:
        return now < max(self.until, self.trying_until)


class Breakers:
    """Learn from errors and successes, refuse calls, and say when queues have to pause."""

    def __init__(
        self,
        *,
        observe: BreakerObserver = lambda *_: None,
        clock: Callable[[], float] = time.monotonic,
        first_pause_s: float = waits.FIRST_PAUSE_S,
    ) -> None:
        self._observe = observe
        self._clock = clock
        self._first_pause_s = first_pause_s
        self._breakers: dict[Scope, _Breaker] = {}
        self._lost: dict[tuple[str, str], int] = {}
        self._changed = asyncio.Event()

    def check(self, call: Call) -> bool:
        """Refuse a call that cannot succeed. True: a pause is over, and this call is the trial.

        A trial must end in `failed`, `succeeded` or `undecided`.
        Raises: Misconfigured, RateLimited, or Postponed with the code of the outage.
        """
        now = self._clock()
        concerned = [b for b in self._holding(call) if b.scope.priority is None]
        for breaker in concerned:
            if breaker.holds(now):
                raise _again(breaker.error, max(breaker.until - now, 1.0))
        for breaker in concerned:
            breaker.trying_until = now + waits.TRIAL_S
        if concerned:
            self._wake()
        return bool(concerned)

    def failed(
        self, call: Call, error: IntegrationError, *, only_its_priority: bool = False
    ) -> None:
        """Learn from a call that failed, or whose token or permit was refused.

        With `only_its_priority`, the ledger refused it, and may grant calls of other priorities.
        """
        self.undecided(call)
        priority = call.priority if only_its_priority else None
        match error:
            case Misconfigured(product=product, cause=cause) if cause in _OF_ONE_OPERATION:
                # Zoho knew the caller, and said no to this: what held back all is over. Without
                # this a probe that lacks a right of its own would keep the product closed.
                self._answered(call, priority)
                self._open(Scope(call.org, product, cause, operation=call.operation), error)
            case Misconfigured(product=product, cause=cause):
                self._open(Scope(call.org, product, cause), error)
            case RateLimited(limit="token", retry_after_s=wait_s):
                self._open(Scope(call.org, ACCOUNTS, "token"), error, wait_s)
            case RateLimited(limit="day" | "minute" | "pace" as cause, retry_after_s=wait_s):
                self._open(Scope(call.org, call.product, cause, priority=priority), error, wait_s)
            case RateLimited(limit="concurrency", retry_after_s=wait_s) if priority is None:
                # Zoho's own word. What the ledger counts in flight passes in milliseconds.
                self._open(Scope(call.org, call.product, "concurrency"), error, wait_s)
            case Unavailable(code="zoho_unavailable" | "zoho_unreachable"):
                self._count_lost(call, error)

    def lost(self, call: Call) -> None:
        """Learn that a write's answer was lost: a sign of an outage, as a read's."""
        self.undecided(call)
        self._count_lost(call, Unavailable("Zoho does not answer", code="zoho_unavailable"))

    def succeeded(self, call: Call) -> None:
        """Learn that Zoho answered, with a yes or a no of its own: what was wrong is mended."""
        self._answered(call, call.priority, also_its_own=True)

    def undecided(self, call: Call) -> None:
        """Learn that the trial, if this was one, showed nothing: let another call be it."""
        for breaker in self._holding(call):
            breaker.trying_until = 0.0
        self._wake()

    def gate(self, org: str, *products: str, priority: Priority | None = None) -> BreakerGate:
        """Return the gate of a queue whose messages call these products."""
        return BreakerGate(self, org, (*products, ACCOUNTS), priority)

    def held_for(
        self, org: str, products: tuple[str, ...], priority: Priority | None
    ) -> float | None:
        """Return the seconds until something may be tried. None when nothing holds them back.

        What one operation lacks holds up no queue: others in it, payments among them, call others.
        """
        now = self._clock()
        pauses = [
            max(max(breaker.until, breaker.trying_until) - now, 0.05)
            for scope, breaker in self._breakers.items()
            if scope.org == org
            and scope.product in products
            and not scope.operation
            and scope.priority in (None, priority)
            and breaker.holds(now)
        ]
        return max(pauses, default=None)

    async def change(self, within_s: float | None) -> None:
        """Return when a breaker has changed, or after `within_s`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._changed.wait()

    def _holding(self, call: Call) -> Iterator[_Breaker]:
        for scope, breaker in self._breakers.items():
            if (
                scope.org == call.org
                and scope.product in (call.product, ACCOUNTS)
                and scope.operation in ("", call.operation)
            ):
                yield breaker

    def _answered(
        self, call: Call, priority: Priority | None, *, also_its_own: bool = False
    ) -> None:
        self._lost.pop((call.org, call.product), None)
        for breaker in list(self._holding(call)):
            scope = breaker.scope
            if scope.priority in (None, priority) and (also_its_own or not scope.operation):
                self._close(scope)

    def _count_lost(self, call: Call, error: IntegrationError) -> None:
        lost = self._lost.get((call.org, call.product), 0) + 1
        self._lost[call.org, call.product] = lost
        if lost >= waits.OUTAGE_AFTER_LOST:
            self._open(Scope(call.org, call.product, "outage"), error)

    def _open(self, scope: Scope, error: IntegrationError, wait_s: float | None = None) -> None:
        known = self._breakers.get(scope)
        now = self._clock()
        if known is not None and wait_s is None and now < known.until:
            return  # reported by calls that were under way together: it is one failure
        pause_s = wait_s or self._pause_s(scope, known)
        self._breakers[scope] = _Breaker(scope, error, now + pause_s, pause_s)
        if known is None:
            # A limit that is used up is everyday life. What a person has to mend is not.
            level = "error" if isinstance(error, Misconfigured) else "info"
            fields = {"org": scope.org, "product": scope.product, "cause": scope.cause}
            getattr(_log, level)("breaker opened", **fields, code=error.code)
        self._observe(scope.org, scope.product, scope.cause, True)
        self._wake()

    def _pause_s(self, scope: Scope, known: _Breaker | None) -> float:
        if known is None or scope.product == ACCOUNTS:
            return self._first_pause_s
        return min(known.pause_s * 2, waits.LONGEST_PAUSE_S)

    def _close(self, scope: Scope) -> None:
        del self._breakers[scope]
        _log.info("breaker closed", org=scope.org, product=scope.product, cause=scope.cause)
        closed = (scope.org, scope.product, scope.cause)
        # Another priority or operation may be held by the same cause.
        is_open = any((s.org, s.product, s.cause) == closed for s in self._breakers)
        self._observe(*closed, is_open)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class BreakerGate:
    """A `messaging.handling.gate.Gate` over the breakers of some products, and of the accounts."""

    def __init__(
        self, breakers: Breakers, org: str, products: tuple[str, ...], priority: Priority | None
    ) -> None:
        self._breakers = breakers
        self._org = org
        self._products = products
        self._priority = priority

    def is_open(self) -> bool:
        return self._held_for() is None

    async def opened(self) -> None:
        while (wait_s := self._held_for()) is not None:
            await self._breakers.change(wait_s)

    async def closed(self) -> None:
        while self._held_for() is None:
            await self._breakers.change(None)

    def _held_for(self) -> float | None:
        return self._breakers.held_for(self._org, self._products, self._priority)


def _again(error: IntegrationError, wait_s: float) -> IntegrationError:
    """Return the error for another message: without the first one's traceback, with its own wait.

    All of these wait without spending an attempt.
    """
    match error:
        case Misconfigured(product=product, cause=cause, org=org):
            return Misconfigured(error.reason, product=product, cause=cause, org=org)
        case RateLimited(product=product, limit=limit):
            return RateLimited(error.reason, retry_after_s=wait_s, product=product, limit=limit)
        case _:
            # This call was not tried: what another one met must not cost this message an attempt.
            return Postponed(error.reason, retry_after_s=wait_s, code=error.code)
