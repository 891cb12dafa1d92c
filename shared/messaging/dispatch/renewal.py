"""Keep the leases of messages in hand from lapsing while their handlers live."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from shared.background import Background
from shared.errors import Unavailable
from shared.messaging.inbox.lines import Lines

_log = structlog.get_logger(__name__)

_PART_OF_LEASE: Final = 4


class LeaseRenewal(Background):
    """Renews all leases in hand with one statement, four times within a lease."""

    def __init__(self, lines: Lines, lease_s: float) -> None:
        super().__init__("renew leases")
        self._lines = lines
        self._lease_s = lease_s
        self._held: set[tuple[int, int]] = set()

    def hold(self, arrived: int, claim: int) -> None:
        self._held.add((arrived, claim))

    def drop(self, arrived: int, claim: int) -> None:
        self._held.discard((arrived, claim))

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._lease_s / _PART_OF_LEASE)
            if not self._held:
                continue
            try:
                # Whoever lost a lease meanwhile finds out at the commit, and writes nothing.
                self._held -= await self._lines.renew(sorted(self._held), self._lease_s)
            except Unavailable:
                _log.warning("leases could not be renewed", leases=len(self._held))
            except Exception:
                _log.exception("renewing leases failed")
