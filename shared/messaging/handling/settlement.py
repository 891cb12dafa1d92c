"""Decide what becomes of a message, in one place, from the class of the error."""

from __future__ import annotations

from dataclasses import dataclass

from shared.errors import (
    IntegrationError,
    LookAgain,
    Misconfigured,
    NotYetKnown,
    OutcomeUnknown,
    PermanentError,
    Postponed,
    Unavailable,
)
from shared.messaging.handling.policy import RetryPolicy


@dataclass(frozen=True, slots=True)
class Done:
    """Done, or nothing to do."""


@dataclass(frozen=True, slots=True)
class DecideAnew:
    """What it was decided on has changed since: run again at once, a bounded number of times."""


@dataclass(frozen=True)
class _Later:
    """It is due again after `delay_s`."""

    delay_s: float


class Postpone(_Later):
    """Its turn has not come. It stays in its line, no attempt spent."""


class Retry(_Later):
    """It failed but may succeed. It stays in its line, an attempt spent."""


class Reconcile(_Later):
    """It may have been done: later, and only a look. No attempt spent."""


class LookLater(_Later):
    """It needs what nobody records: off its line, later each time."""


@dataclass(frozen=True)
class WaitForPerson(_Later):
    """Nothing of this product can succeed now: no attempt spent, no end, an alert.

    `product` is None when it is a key that is missing.
    """

    product: str | None


@dataclass(frozen=True, slots=True)
class WaitForFact:
    """It needs what another message records: off its line until then, no attempt spent."""

    kind: str
    key: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """It becomes a dead letter, and the sender of a command hears of it."""

    code: str
    reason: str


Settlement = (
    Done
    | DecideAnew
    | Postpone
    | Retry
    | WaitForFact
    | LookLater
    | WaitForPerson
    | Reconcile
    | GiveUp
)

PERSON_S = 60.0
"""How soon a message tries again what a person has to mend."""


def settlement_for(error: BaseException, attempt: int, policy: RetryPolicy) -> Settlement:
    """Decide what becomes of a message whose handler raised. Nothing else decides it."""
    match error:
        case NotYetKnown(kind=kind, key=key):
            return WaitForFact(kind, key)
        case LookAgain(retry_after_s=delay_s):
            return LookLater(delay_s)
        case Postponed(retry_after_s=delay_s):
            return Postpone(delay_s)
        case Misconfigured(product=product):
            return WaitForPerson(PERSON_S, product)
        case OutcomeUnknown(search_lag_s=delay_s):
            return Reconcile(delay_s)  # later, and only a look. See the effects journal
        case PermanentError(code=code, reason=reason):
            return GiveUp(code, reason)
        case Unavailable(code="unknown_key"):
            return WaitForPerson(PERSON_S, None)  # until the key is in the ring again
        case Unavailable(code="database_unavailable", retry_after_s=asked_s):
            return Postpone(asked_s or 1.0)  # nothing that the message can help
        case _ if attempt < policy.max_attempts:
            # Unavailable, or an error we have no name for. The latter is our bug, but a deploy may
            # cure it, so it gets its attempts too.
            asked_s = error.retry_after_s if isinstance(error, Unavailable) else None
            return Retry(policy.backoff_s(attempt) if asked_s is None else asked_s)
        case IntegrationError(code=code, reason=reason):
            return GiveUp(code, reason)
        case _:
            return GiveUp("internal_error", "the service failed on it every time")
