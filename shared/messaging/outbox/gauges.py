"""Measure what waits in the outbox."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from shared.background import PeriodicTask
from shared.errors import Unavailable
from shared.messaging.outbox.outbox import Outbox
from shared.observability.metrics import Metrics

_EVERY_S: Final = 10.0


class Gauges(PeriodicTask):
    """Measures every ten seconds, for as long as its context is entered."""

    def __init__(self, metrics: Metrics, outbox: Outbox) -> None:
        super().__init__("outbox gauges", every_s=_EVERY_S)
        self._metrics = metrics
        self._outbox = outbox

    async def _run_once(self) -> bool:
        with suppress(Unavailable):  # reported by whoever needs the database
            pending = await self._outbox.pending()
            self._metrics.outbox_pending.set(pending.rows)
            self._metrics.outbox_oldest_age.set(pending.oldest_age_s)
        return False
