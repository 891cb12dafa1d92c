"""Tell the observers what became of each delivery, and how long it took."""

from __future__ import annotations

import time
from collections.abc import Sequence

from shared.messaging.consuming.attempt import Attempt
from shared.messaging.consuming.settle import Settle
from shared.messaging.handling.observers import Settled, SettlementObserver
from shared.messaging.handling.settlement import Settlement
from shared.observability import logs


def observe(settle: Settle, observers: Sequence[SettlementObserver]) -> Settle:
    """The outermost: binds the correlation id for log lines, and reports."""

    async def observed(attempt: Attempt) -> Settlement:
        started = time.perf_counter()
        with logs.bind(correlation_id=attempt.delivery.correlation_id):
            settlement = await settle(attempt)
            settled = Settled(
                attempt.delivery, settlement, time.perf_counter() - started, attempt.error
            )
            for observer in observers:
                observer(settled)
        return settlement

    return observed
