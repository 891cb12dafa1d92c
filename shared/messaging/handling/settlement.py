"""What becomes of a message, decided in one place from the class of the error."""

from __future__ import annotations

from dataclasses import dataclass

from shared.errors import (
    IntegrationError,
    Misconfigured,
    OutcomeUnknown,
    PermanentError,
    Postponed,
    Unavailable,
)
from shared.messaging.handling.policy import RetryPolicy


@dataclass(frozen=True, slots=True)
class Ack:
    """Done, or nothing to do."""


@dataclass(frozen=True, slots=True)
class Postpone:
    """Not its turn: back after `delay_s`, no attempt spent."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Retry:
    """It failed but may succeed: back after `delay_s`, an attempt spent."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing of its kind can succeed now: back after `delay_s`, no attempt spent, an alert."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Reconcile:
    """It may have been done: back after `delay_s`, only to look. No attempt spent."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Given up: to the dead-letter queue, and the sender is told."""

    code: str
    reason: str


Settlement = Ack | Postpone | Retry | Pause | Reconcile | DeadLetter

PAUSE_S = 60.0
"""How soon a message tries again what a person has to mend."""


def settlement_for(error: BaseException, attempt: int, policy: RetryPolicy) -> Settlement:
    """Decide what becomes of a message whose handler raised. Nothing else decides it."""
    match error:
        case Postponed(retry_after_s=delay_s):
            return Postpone(delay_s)
        case Misconfigured():
            return Pause(PAUSE_S)
        case OutcomeUnknown(search_lag_s=delay_s):
            return Reconcile(delay_s)  # later, and only a look; see the effects journal
        case PermanentError(code=code, reason=reason):
            return DeadLetter(code, reason)
        case _ if attempt < policy.max_attempts:
            # Unavailable, or an error we have no name for. The latter is our bug, but a deploy may
            # cure it, so it gets its attempts too.
            asked_s = error.retry_after_s if isinstance(error, Unavailable) else None
            return Retry(policy.backoff_s(attempt) if asked_s is None else asked_s)
        case IntegrationError(code=code, reason=reason):
            return DeadLetter(code, reason)
        case _:
            return DeadLetter("internal_error", "the service failed on it every time")
