"""Handing over to the broker what is stored, without getting in the way of answering.

Publishing a message takes about twice the time that accepting one does. In a burst, that would be
taken from those who wait for an answer, so what is stored then stays in the outbox, and goes out at
a trickle until it is calmer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import asyncpg

from services.webhook_gateway.repositories.webhooks import SCHEMA
from shared.crypto.envelope import Vault
from shared.messaging.outbox.outbox import Outbox, OutboxRow

_MANY_A_SECOND: Final = 500


class LoadMonitor:
    """Whether webhooks come faster than they can be both accepted and published here."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._second = 0
        self._count = 0
        self._before = 0

    def count(self) -> None:
        """One more has come."""
        self._turn()
        self._count += 1

    @property
    def is_high(self) -> bool:
        """In this second or in the last one there were many."""
        self._turn()
        return max(self._count, self._before) > _MANY_A_SECOND

    def _turn(self) -> None:
        second = int(self._now())
        if second != self._second:
            self._before = self._count if second == self._second + 1 else 0
            self._second, self._count = second, 0


class PacedOutbox(Outbox):
    """The relay looks once a poll, and goes on at once after a full group: under pressure, no group
    is full."""

    def __init__(
        self, pool: asyncpg.Pool, vault: Vault, pressure: LoadMonitor, *, lease_s: float
    ) -> None:
        super().__init__(pool, SCHEMA, vault, lease_s=lease_s)
        self._pressure = pressure

    async def take(self, limit: int) -> list[OutboxRow]:
        return await super().take(limit - 1 if self._pressure.is_high else limit)
