"""Measure how much waits in the outbox and in the delayed-retry queues."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from shared.background import PeriodicTask
from shared.errors import Unavailable
from shared.messaging.broker.connection import BROKER_ERRORS, ReconnectingConnection
from shared.messaging.outbox.outbox import Outbox
from shared.observability.metrics import Metrics

_EVERY_S: Final = 10.0


class Gauges(PeriodicTask):
    """Measures every ten seconds, for as long as its context is entered."""

    def __init__(
        self,
        metrics: Metrics,
        outbox: Outbox,
        link: ReconnectingConnection,
        retry_queues: Sequence[str],
    ) -> None:
        super().__init__("messaging gauges", every_s=_EVERY_S)
        self._metrics = metrics
        self._outbox = outbox
        self._link = link
        self._retry_queues = retry_queues

    async def _run_once(self) -> bool:
        with suppress(Unavailable, *BROKER_ERRORS):  # reported by whoever needs them
            await self._measure_outbox()
            if self._retry_queues and self._link.is_up:
                await self._measure_retries()
        return False

    async def _measure_outbox(self) -> None:
        pending = await self._outbox.pending()
        self._metrics.outbox_pending.set(pending.rows)
        self._metrics.outbox_oldest_age.set(pending.oldest_age_s)

    async def _measure_retries(self) -> None:
        channel = await self._link.channel(confirms=False)
        try:
            for queue in self._retry_queues:
                declared = await channel.queue_declare(queue, passive=True)
                self._metrics.retry_backlog.labels(queue).set(declared.message_count or 0)
        finally:
            await channel.close()
