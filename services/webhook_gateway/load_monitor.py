"""Measure the load of incoming webhooks, and slow down publishing while it is high.

Publishing a message takes about twice as long as accepting one. In a burst that time would delay
the answers. Webhooks stored in a burst stay in the outbox, and are published slowly until the load
falls.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

import asyncpg

from services.webhook_gateway.repositories.webhooks import SCHEMA
from shared.crypto.envelope import Vault
from shared.messaging.broker.refused_routes import Route
from shared.messaging.outbox.outbox import Outbox, OutboxRow

_MANY_A_SECOND: Final = 500


class LoadMonitor:
    """Tracks whether webhooks come faster than they can be both accepted and published here."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._second = 0
        self._count = 0
        self._last_count = 0

    def count(self) -> None:
        """Count one more webhook."""
        self._advance()
        self._count += 1

    @property
    def is_high(self) -> bool:
        """Whether there were many in this second or in the last one."""
        self._advance()
        return max(self._count, self._last_count) > _MANY_A_SECOND

    def _advance(self) -> None:
        second = int(self._now())
        if second != self._second:
            self._last_count = self._count if second == self._second + 1 else 0
            self._second, self._count = second, 0


class PacedOutbox(Outbox):
    """An outbox whose groups are never full under high load.

    The relay reads a group once per poll, and goes on without a pause after a full one.
    """

    def __init__(
        self, pool: asyncpg.Pool, vault: Vault, load: LoadMonitor, *, lease_s: float
    ) -> None:
        super().__init__(pool, SCHEMA, vault, lease_s=lease_s)
        self._load = load

    async def take(self, limit: int, *, without: Sequence[Route] = ()) -> list[OutboxRow]:
        paced = limit - 1 if self._load.is_high else limit
        return await super().take(paced, without=without)
