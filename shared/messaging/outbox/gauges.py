"""What waits: in the outbox and in the delayed-retry queues."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from shared.background import Background
from shared.errors import Unavailable
from shared.messaging.broker.connection import BROKER_ERRORS, ReconnectingConnection, is_cancelled
from shared.messaging.outbox.outbox import Outbox
from shared.observability.metrics import Metrics

_log = structlog.get_logger(__name__)

_EVERY_S: Final = 10.0


class Gauges(Background):
    """Measures every ten seconds, for as long as its context is entered."""

    def __init__(
        self,
        metrics: Metrics,
        outbox: Outbox,
        link: ReconnectingConnection,
        retry_queues: Sequence[str],
    ) -> None:
        super().__init__("messaging gauges")
        self._metrics = metrics
        self._outbox = outbox
        self._link = link
        self._retry_queues = retry_queues

    async def _run(self) -> None:
        while True:
            try:
                await self._measure_outbox()
                if self._retry_queues and self._link.is_up:
                    await self._measure_retries()
            except (Unavailable, *BROKER_ERRORS):
                pass  # what is away says so elsewhere
            except asyncio.CancelledError:
                if is_cancelled():
                    raise
            except Exception:
                _log.exception("measuring failed")
            if is_cancelled():  # and it was swallowed
                return
            await asyncio.sleep(_EVERY_S)

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
