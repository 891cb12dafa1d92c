"""Report what became of each attempt at a message: logs, metrics and tests are observers of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import Final, NamedTuple

import structlog

from shared.messaging.handling.routes import Routes
from shared.messaging.handling.settlement import (
    DecideAnew,
    Done,
    GiveUp,
    LookLater,
    Postpone,
    Reconcile,
    Retry,
    Settlement,
    WaitForFact,
    WaitForPerson,
)
from shared.messaging.messages.received_message import ReceivedMessage
from shared.observability import logs
from shared.observability.metrics import Metrics

_log = structlog.get_logger(__name__)
_standard_log = logging.getLogger(__name__)

_LABELS: Final = {
    Done: "done",
    DecideAnew: "decide_anew",
    Postpone: "postpone",
    Retry: "retry",
    WaitForFact: "wait_for_fact",
    LookLater: "look_again",
    WaitForPerson: "wait_for_person",
    Reconcile: "reconcile",
    GiveUp: "dead_letter",
}


class Settled(NamedTuple):
    """One attempt at a message and what became of it. `error` is what the handler raised."""

    message: ReceivedMessage
    settlement: Settlement
    duration_s: float
    attempt: int = 1
    error: Exception | None = None


SettlementObserver = Callable[[Settled], None]


def label_of(settlement: Settlement) -> str:
    """`GiveUp` → `dead_letter`."""
    return _LABELS[type(settlement)]


def log_settled(settled: Settled) -> None:
    """One line per attempt. Loud where somebody has to look."""
    message, settlement = settled.message, settled.settlement
    # Asked of the standard logger, which keeps the answer: ours is made anew for each question.
    if isinstance(settlement, Done) and not _standard_log.isEnabledFor(logging.DEBUG):
        return
    values = {
        "org": message.org,
        "routing_key": message.routing_key,
        "message_id": message.message_id,
        "settlement": label_of(settlement),
        "attempt": settled.attempt,
        "duration_s": round(settled.duration_s, 4),
    }
    if settled.error is not None:
        values |= logs.describe(settled.error)
    match settlement:
        case Done():
            _log.debug("message settled", **values)
        case DecideAnew() | Postpone() | WaitForFact() | LookLater():
            values.pop("trace", None)
            _log.info("message settled", **values)
        case Retry() | GiveUp():
            _log.warning("message settled", **values)
        case WaitForPerson():
            _log.error("message settled", **values)
        case _:
            _log.info("message settled", **values)


def count_settled(metrics: Metrics, service: str, routes: Routes) -> SettlementObserver:
    """Metrics of each attempt, labelled with the key in the table of routes.

    What has no route is `unknown`: its key is the sender's text, and a series each would be
    without bound.
    """

    # Looking a series up by its labels costs more than counting.
    counter = cache(metrics.messages_settled.labels)
    handling = cache(metrics.message_handling.labels)

    def observe(settled: Settled) -> None:
        message = settled.message
        key = routes.key_of(message.exchange, message.routing_key) or "unknown"
        labels = (message.org, service, key)
        counter(*labels, label_of(settled.settlement)).inc()
        handling(*labels).observe(settled.duration_s)
        if isinstance(settled.settlement, GiveUp):
            metrics.dead_letters_given_up.labels(
                org=message.org, service=service, code=settled.settlement.code
            ).inc()

    return observe
