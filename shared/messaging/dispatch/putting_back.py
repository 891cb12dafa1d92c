"""Put messages back that wait: for time, for a fact, to look again, or for a person."""

from __future__ import annotations

from shared.errors import IntegrationError
from shared.messaging.batcher import Batcher
from shared.messaging.dispatch.outages import through_outage
from shared.messaging.dispatch.wakeup import Wakeup
from shared.messaging.handling.policy import WaitPolicy
from shared.messaging.handling.settlement import (
    LookLater,
    Postpone,
    Reconcile,
    Retry,
    Settlement,
    WaitForFact,
    WaitForPerson,
)
from shared.messaging.inbox.lines import LeasedMessage, Lines, PutBack, PutBackResult, WaitKind


class PuttingBack:
    """Writes waits. Those of all attempts that end together are written as one group."""

    def __init__(self, lines: Lines, policy: WaitPolicy, wakeup: Wakeup) -> None:
        self._lines = lines
        self._policy = policy
        self._wakeup = wakeup
        self._group: Batcher[PutBack, PutBackResult] = Batcher(
            "put back", lines.put_back, gather_s=0.002
        )

    async def put_back(
        self, leased: LeasedMessage, settlement: Settlement, error: Exception
    ) -> PutBackResult:
        entry = self._entry(leased, settlement, error)
        result = await through_outage(lambda: self._group.run(entry))
        if result is PutBackResult.WAITS:
            if entry.kind is not WaitKind.FACT:
                self._wakeup.set_after(entry.due_s)
            if entry.kind in (WaitKind.FACT, WaitKind.LOOK):
                self._wakeup.set()  # it left its line, so the next of it may be due
        return result

    def _entry(self, leased: LeasedMessage, settlement: Settlement, error: Exception) -> PutBack:
        policy = self._policy
        code, reason = code_and_reason(error)
        kind, due_s, end_s = WaitKind.TIME, 0.0, policy.time_s
        fact: tuple[str, str] | None = None
        product: str | None = None
        match settlement:
            case WaitForFact(fact_kind, key):
                kind, fact = WaitKind.FACT, (fact_kind, key)
                end_s = policy.fact_s.get(fact_kind, policy.other_facts_s)
            case LookLater(delay_s):
                kind, end_s = WaitKind.LOOK, policy.look_again_s
                # Longer each time: as long again as it has waited so far.
                due_s = min(max(delay_s, leased.waited_s), policy.looks_every_s)
            case WaitForPerson(product=product, delay_s=delay_s):
                kind, due_s = WaitKind.PERSON, delay_s
            case Postpone(delay_s) | Reconcile(delay_s) | Retry(delay_s):
                due_s = delay_s
        return PutBack(
            arrived=leased.arrived,
            claim=leased.claim,
            kind=kind,
            code=code,
            due_s=due_s,
            reason=reason,
            spent=isinstance(settlement, Retry),
            fact=fact,
            end_s=None if kind is WaitKind.PERSON else end_s,
            product=product,
        )


def code_and_reason(error: Exception) -> tuple[str, str]:
    """Why a message waits, and under which it is given up when its wait is over."""
    if isinstance(error, IntegrationError):
        return error.code, error.reason
    return "internal_error", "the service failed on it every time"
