"""Stop calls that cannot succeed, and let the messages that need them wait.

A breaker opens when calls fail for a cause that would make the next ones fail too: no valid
credentials, a used-up limit, an outage. There is one for each organization, product and cause.
While it is open, calls are refused here, and messages that need the product are not leased. After a
pause, one call is let through as the trial. It closes the breaker, or begins the next pause.

Some causes concern one operation only. Then only the messages that come to this operation wait.

Breakers are in this process's memory, so each process finds out by a call of its own. Zoho's limits
concern all processes at once. They are in the quota ledger.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import structlog

from shared.errors import IntegrationError, Misconfigured, Postponed, RateLimited, Unavailable
from shared.zoho import waits
from shared.zoho.quota.call import Call
from shared.zoho.quota.priority import Priority

_log = structlog.get_logger()

# In place of a product: credentials are the same for all products. A trial asks token-service only,
# which costs no call to Zoho, so these pauses do not grow.
ACCOUNTS: Final = "accounts"
# Causes that concern one operation: it may lack an OAuth scope or a right that the others have.
_OF_ONE_OPERATION: Final = frozenset({"scope", "permission", "licence"})

# (organization, product, cause, is open)
BreakerObserver = Callable[[str, str, str, bool], None]


@dataclass(frozen=True)
class BreakerKey:
    """Identify a breaker by its cause and by the calls that it refuses.

    With an `operation` or a `priority`, it refuses only the calls of that one.
    """

    org: str
    product: str
    cause: str
    operation: str = ""
    priority: Priority | None = None


class BreakerHold(NamedTuple):
    """The cause that holds calls, and the seconds until one may be tried."""

    cause: str
    wait_s: float


@dataclass
class _Breaker:
    """Hold an open breaker. A closed one is not kept.

    Attributes:
        until: the end of the pause. After it, one call is let through as the trial.
        trying_until: the time that the trial may take. Then another call may be the trial, because
            the first one may have been cancelled without a result.
    """

    key: BreakerKey
    error: IntegrationError
    until: float
    pause_s: float
    trying_until: float = 0.0

    def holds(self, now: float) -> bool:
        return now < max(self.until, self.trying_until)


class Breakers:
    """Open and close breakers by the outcomes of calls, and refuse calls while they are open."""

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
        self._breakers: dict[BreakerKey, _Breaker] = {}
        self._lost_in_a_row: dict[tuple[str, str], int] = {}

    def check(self, call: Call) -> bool:
        """Refuse a call that cannot succeed. Return True when this call is the trial.

        Whoever gets True must call `failed`, `succeeded` or `undecided` afterwards.

        Breakers of one priority are not looked at. They only keep messages from being leased, and
        the ledger refuses the calls.

        Raises: Misconfigured, RateLimited, or Postponed with the code of the outage.
        """
        now = self._clock()
        concerned = [b for b in self._holding(call) if b.key.priority is None]
        for breaker in concerned:
            if breaker.holds(now):
                raise _error_for_another_call(breaker.error, max(breaker.until - now, 1.0))
        for breaker in concerned:
            breaker.trying_until = now + waits.TRIAL_S
        return bool(concerned)

    def failed(
        self, call: Call, error: IntegrationError, *, only_its_priority: bool = False
    ) -> None:
        """Open the breaker that the error calls for, if any.

        The error may be Zoho's, token-service's or the ledger's. With `only_its_priority`, the
        ledger refused the call, and may still grant calls of other priorities.
        """
        self.undecided(call)
        priority = call.priority if only_its_priority else None
        match error:
            case Misconfigured(product=product, cause=cause) if cause in _OF_ONE_OPERATION:
                # Zoho knows us and refuses this operation alone, so breakers that stop the whole
                # product can close. Otherwise a probe that lacks a right would keep them open.
                self._answered(call, priority)
                self._open(BreakerKey(call.org, product, cause, operation=call.operation), error)
            case Misconfigured(product=product, cause=cause):
                self._open(BreakerKey(call.org, product, cause), error)
            case RateLimited(limit="token", retry_after_s=wait_s):
                self._open(BreakerKey(call.org, ACCOUNTS, "token"), error, wait_s)
            case RateLimited(limit="day" | "minute" | "pace" as cause, retry_after_s=wait_s):
                self._open(
                    BreakerKey(call.org, call.product, cause, priority=priority), error, wait_s
                )
            case RateLimited(limit="concurrency", retry_after_s=wait_s) if priority is None:
                # Zoho itself refused. When the ledger does, the wait is only milliseconds.
                self._open(BreakerKey(call.org, call.product, "concurrency"), error, wait_s)
            case Unavailable(code="zoho_unavailable" | "zoho_unreachable"):
                self._count_lost(call, error)

    def lost(self, call: Call) -> None:
        """Count a write whose answer was lost. It is a sign of an outage, as a lost read is."""
        self.undecided(call)
        self._count_lost(call, Unavailable("Zoho does not answer", code="zoho_unavailable"))

    def succeeded(self, call: Call) -> None:
        """Close the breakers of this call, because Zoho has answered it with a yes or a no."""
        self._answered(call, call.priority, also_its_own=True)

    def undecided(self, call: Call) -> None:
        """Let another call be the trial, in case this one was it and has shown nothing."""
        for breaker in self._holding(call):
            breaker.trying_until = 0.0

    def gate(self, org: str, *products: str, priority: Priority | None = None) -> BreakerGate:
        """Return the gate of work that calls these products."""
        return BreakerGate(self, org, (*products, ACCOUNTS), priority)

    def held_for(
        self, org: str, products: tuple[str, ...], priority: Priority | None
    ) -> float | None:
        """Return the seconds until one of these products' calls may be tried. None: now.

        Breakers of one operation do not count, because other messages (payments among them) call
        other operations.
        """
        held = self.held_by(org, products, priority)
        return None if held is None else held.wait_s

    def held_by(
        self, org: str, products: tuple[str, ...], priority: Priority | None
    ) -> BreakerHold | None:
        """Return what holds these products' calls longest, as `held_for` counts it."""
        now = self._clock()
        holds = [
            BreakerHold(key.cause, max(max(breaker.until, breaker.trying_until) - now, 0.05))
            for key, breaker in self._breakers.items()
            if key.org == org
            and key.product in products
            and not key.operation
            and key.priority in (None, priority)
            and breaker.holds(now)
        ]
        return max(holds, key=lambda hold: hold.wait_s, default=None)

    def _holding(self, call: Call) -> Iterator[_Breaker]:
        for key, breaker in self._breakers.items():
            if (
                key.org == call.org
                and key.product in (call.product, ACCOUNTS)
                and key.operation in ("", call.operation)
            ):
                yield breaker

    def _answered(
        self, call: Call, priority: Priority | None, *, also_its_own: bool = False
    ) -> None:
        self._lost_in_a_row.pop((call.org, call.product), None)
        for breaker in list(self._holding(call)):
            key = breaker.key
            if key.priority in (None, priority) and (also_its_own or not key.operation):
                self._close(key)

    def _count_lost(self, call: Call, error: IntegrationError) -> None:
        lost = self._lost_in_a_row.get((call.org, call.product), 0) + 1
        self._lost_in_a_row[call.org, call.product] = lost
        if lost >= waits.OUTAGE_AFTER_LOST:
            self._open(BreakerKey(call.org, call.product, "outage"), error)

    def _open(self, key: BreakerKey, error: IntegrationError, wait_s: float | None = None) -> None:
        known = self._breakers.get(key)
        now = self._clock()
        if known is not None and wait_s is None and now < known.until:
            return  # calls that were under way together report one failure several times
        pause_s = wait_s or self._pause_s(key, known)
        self._breakers[key] = _Breaker(key, error, now + pause_s, pause_s)
        if known is None:
            # A used-up limit is normal. A set-up that a person has to correct is an error.
            level = "error" if isinstance(error, Misconfigured) else "info"
            fields = {"org": key.org, "product": key.product, "cause": key.cause}
            getattr(_log, level)("breaker opened", **fields, code=error.code)
        self._observe(key.org, key.product, key.cause, True)

    def _pause_s(self, key: BreakerKey, known: _Breaker | None) -> float:
        if known is None or key.product == ACCOUNTS:
            return self._first_pause_s
        return min(known.pause_s * 2, waits.LONGEST_PAUSE_S)

    def _close(self, key: BreakerKey) -> None:
        del self._breakers[key]
        _log.info("breaker closed", org=key.org, product=key.product, cause=key.cause)
        closed = (key.org, key.product, key.cause)
        # Another priority or operation may be held by the same cause.
        is_open = any((s.org, s.product, s.cause) == closed for s in self._breakers)
        self._observe(*closed, is_open)


class BreakerGate:
    """The breakers as work in the background sees them: a flusher, a poller."""

    def __init__(
        self, breakers: Breakers, org: str, products: tuple[str, ...], priority: Priority | None
    ) -> None:
        self._breakers = breakers
        self._org = org
        self._products = products
        self._priority = priority

    def is_open(self) -> bool:
        """Whether no breaker of these products, or of the credentials, is open."""
        return self._breakers.held_for(self._org, self._products, self._priority) is None


def _error_for_another_call(error: IntegrationError, wait_s: float) -> IntegrationError:
    """Return a new error like the one that opened the breaker, with this call's own wait.

    A new one, because the first has a traceback. No message spends an attempt on these errors.
    """
    match error:
        case Misconfigured(product=product, cause=cause, org=org):
            return Misconfigured(error.reason, product=product, cause=cause, org=org)
        case RateLimited(product=product, limit=limit):
            return RateLimited(error.reason, retry_after_s=wait_s, product=product, limit=limit)
        case _:
            # Not `Unavailable`: this call was not tried, so its message must not spend an attempt.
            return Postponed(error.reason, retry_after_s=wait_s, code=error.code)
