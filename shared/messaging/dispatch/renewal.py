"""Keep the leases of messages in hand from lapsing while their handlers live."""

from __future__ import annotations

import time
from typing import Final

from shared.background import PeriodicTask
from shared.lease_in_hand import LeaseInHand
from shared.messaging.inbox.lines import Lines

_PART_OF_LEASE: Final = 4


class LeaseRenewal(PeriodicTask):
    """Renews all leases in hand with one statement, four times within a lease."""

    def __init__(self, lines: Lines, lease_s: float) -> None:
        super().__init__("renew leases", every_s=lease_s / _PART_OF_LEASE)
        self._lines = lines
        self._lease_s = lease_s
        self._held: dict[tuple[int, int], LeaseInHand] = {}

    def hold(self, arrived: int, claim: int, asked_at: float) -> LeaseInHand:
        """Renew this lease from now on. It was asked for at `asked_at` (`time.monotonic()`)."""
        lease = self._held[arrived, claim] = LeaseInHand(asked_at + self._lease_s)
        return lease

    def drop(self, arrived: int, claim: int) -> None:
        self._held.pop((arrived, claim), None)

    async def _run_once(self) -> bool:
        # When it fails, whoever loses a lease finds out at the commit, and writes nothing.
        if self._held:
            await self._renew()
        return False

    async def _renew(self) -> None:
        asked_at = time.monotonic()
        asked = dict(self._held)
        lost = await self._lines.renew(sorted(asked), self._lease_s)
        for key, lease in asked.items():
            if key in lost:
                self._held.pop(key, None)
            else:
                lease.until = asked_at + self._lease_s
