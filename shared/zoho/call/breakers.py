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
from shared.zoho.quota.priority import Priority

_log = structlog.get_logger()

_LONGEST_PAUSE_S: Final = 300.0
_TRIAL_S: Final = 60.0
# So many lost answers in a row are an outage. Fewer are the weather.
_OUTAGE_AFTER: Final = 5
# Credentials are all products' at once. Asking again costs no call to Zoho, so it is not put off.
ACCOUNTS: Final = "accounts"
# One operation may lack a scope or a right that the others have.
_OF_ONE_OPERATION: Final = frozenset({"scope", "permission", "licence"})

# (organization, product, cause, is open)
BreakerObserver = Callable[[str, str, str, bool], None]


@dataclass
class _Breaker:
    """Open. Past `until` one call is let through, to see. `trying_until` while it is under way,
    and not for ever: a trial that was called off must not be the last one.

    `operation`, `lane`: the only ones concerned, where not all are.
    """

    org: str
    product: str
    cause: str
    error: IntegrationError
    until: float
    pause_s: float
    operation: str = ""
    lane: Priority | None = None
    trying_until: float = 0.0

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        return (self.org, self.product, self.cause, self.operation, self.lane or "")

    def holds(self, now: float) -> bool:
        return now < max(self.until, self.trying_until)


class Breakers:
    """Learn from errors and successes, refuse calls, and say when queues have to pause."""

    def __init__(
        self,
        *,
        observe: BreakerObserver = lambda *_: None,
        clock: Callable[[], float] = time.monotonic,
        first_pause_s: float = 15.0,
    ) -> None:
        self._observe = observe
        self._clock = clock
        self._first_pause_s = first_pause_s
        self._breakers: dict[tuple[str, str, str, str, str], _Breaker] = {}
        self._lost: dict[tuple[str, str], int] = {}
        self._changed = asyncio.Event()

    def check(self, org: str, product: str, operation: str) -> bool:
        """Refuse a call that cannot succeed. True: a pause is over, and this call is the trial.

        A trial must end in `failed`, `succeeded` or `undecided`.
        Raises: Misconfigured, RateLimited, or Postponed with the code of the outage.
        """
        now = self._clock()
        concerned = [b for b in self._of(org, product, operation) if b.lane is None]
        for breaker in concerned:
            if breaker.holds(now):
                raise _again(breaker.error, max(breaker.until - now, 1.0))
        for breaker in concerned:
            breaker.trying_until = now + _TRIAL_S
        if concerned:
            self._wake()
        return bool(concerned)

    def failed(
        self,
        org: str,
        product: str,
        operation: str,
        error: IntegrationError,
        *,
        lane: Priority | None = None,
    ) -> None:
        """A call failed, or the token or permit for it. `lane` when only that lane is refused."""
        self.undecided(org, product, operation)
        match error:
            case Misconfigured(product=named, cause=cause) if cause in _OF_ONE_OPERATION:
                # Zoho knew the caller, and said no to this: what held back all is over. Without
                # this a probe that lacks a right of its own would keep the product closed.
                self._answered(org, product, operation, lane)
                self._open(org, named, cause, error, None, operation)
            case Misconfigured(product=named, cause=cause):
                self._open(org, named, cause, error, None)
            case RateLimited(limit="token", retry_after_s=wait_s):
                self._open(org, ACCOUNTS, "token", error, wait_s)
            case RateLimited(limit="day" | "minute" | "pace" as cause, retry_after_s=wait_s):
                self._open(org, product, cause, error, wait_s, lane=lane)
            case RateLimited(limit="concurrency", retry_after_s=wait_s) if lane is None:
                # Zoho's own word. What the ledger counts in flight passes in milliseconds.
                self._open(org, product, "concurrency", error, wait_s)
            case Unavailable(code="zoho_unavailable" | "zoho_unreachable"):
                self._lose(org, product, error)

    def lost(self, org: str, product: str, operation: str) -> None:
        """A write's answer was lost: a sign of an outage, as a read's."""
        self.undecided(org, product, operation)
        self._lose(org, product, Unavailable("Zoho does not answer", code="zoho_unavailable"))

    def succeeded(self, org: str, product: str, operation: str, *, lane: Priority) -> None:
        """Zoho answered, with a yes or a no of its own: what was wrong here is mended."""
        self._answered(org, product, operation, lane, also_its_own=True)

    def undecided(self, org: str, product: str, operation: str) -> None:
        """The trial, if this was one, said nothing: let another call be it."""
        for breaker in self._of(org, product, operation):
            breaker.trying_until = 0.0
        self._wake()

    def gate(self, org: str, *products: str, lane: Priority | None = None) -> BreakerGate:
        """Return the gate of a queue whose messages call these products."""
        return BreakerGate(self, org, (*products, ACCOUNTS), lane)

    def held_for(self, org: str, products: tuple[str, ...], lane: Priority | None) -> float | None:
        """Seconds until something may be tried. None when nothing holds them back.

        What one operation lacks holds up no queue: others in it, payments among them, call others.
        """
        now = self._clock()
        waits = [
            max(max(breaker.until, breaker.trying_until) - now, 0.05)
            for breaker in self._breakers.values()
            if breaker.org == org
            and breaker.product in products
            and not breaker.operation
            and breaker.lane in (None, lane)
            and breaker.holds(now)
        ]
        return max(waits, default=None)

    async def change(self, within_s: float | None) -> None:
        """Return when a breaker has changed, or after `within_s`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._changed.wait()

    def _of(self, org: str, product: str, operation: str) -> Iterator[_Breaker]:
        for breaker in self._breakers.values():
            if (
                breaker.org == org
                and breaker.product in (product, ACCOUNTS)
                and breaker.operation in ("", operation)
            ):
                yield breaker

    def _answered(
        self,
        org: str,
        product: str,
        operation: str,
        lane: Priority | None,
        *,
        also_its_own: bool = False,
    ) -> None:
        self._lost.pop((org, product), None)
        for breaker in list(self._of(org, product, operation)):
            if breaker.lane in (None, lane) and (also_its_own or not breaker.operation):
                self._close(breaker)

    def _lose(self, org: str, product: str, error: IntegrationError) -> None:
        lost = self._lost.get((org, product), 0) + 1
        self._lost[org, product] = lost
        if lost >= _OUTAGE_AFTER:
            self._open(org, product, "outage", error, None)

    def _open(
        self,
        org: str,
        product: str,
        cause: str,
        error: IntegrationError,
        wait_s: float | None,
        operation: str = "",
        lane: Priority | None = None,
    ) -> None:
        new = _Breaker(org, product, cause, error, 0.0, 0.0, operation, lane)
        known = self._breakers.get(new.key)
        now = self._clock()
        if known is not None and wait_s is None and now < known.until:
            return  # reported by calls that were under way together: it is one failure
        new.pause_s = wait_s or self._pause_s(product, known)
        new.until = now + new.pause_s
        self._breakers[new.key] = new
        if known is None:
            # A limit that is used up is everyday life. What a person has to mend is not.
            level = "error" if isinstance(error, Misconfigured) else "info"
            told = {"org": org, "product": product, "cause": cause, "code": error.code}
            getattr(_log, level)("breaker opened", **told)
        self._observe(org, product, cause, True)
        self._wake()

    def _pause_s(self, product: str, known: _Breaker | None) -> float:
        if known is None or product == ACCOUNTS:
            return self._first_pause_s
        return min(known.pause_s * 2, _LONGEST_PAUSE_S)

    def _close(self, breaker: _Breaker) -> None:
        del self._breakers[breaker.key]
        _log.info("breaker closed", org=breaker.org, product=breaker.product, cause=breaker.cause)
        said = (breaker.org, breaker.product, breaker.cause)
        still = any((b.org, b.product, b.cause) == said for b in self._breakers.values())
        self._observe(*said, still)  # another lane or operation may be held by the same
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class BreakerGate:
    """A `messaging.handling.gate.Gate` over the breakers of some products, and of the accounts."""

    def __init__(
        self, breakers: Breakers, org: str, products: tuple[str, ...], lane: Priority | None
    ) -> None:
        self._breakers = breakers
        self._org = org
        self._products = products
        self._lane = lane

    def is_open(self) -> bool:
        return self._held_for() is None

    async def opened(self) -> None:
        while (wait_s := self._held_for()) is not None:
            await self._breakers.change(wait_s)

    async def closed(self) -> None:
        while self._held_for() is None:
            await self._breakers.change(None)

    def _held_for(self) -> float | None:
        return self._breakers.held_for(self._org, self._products, self._lane)


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
