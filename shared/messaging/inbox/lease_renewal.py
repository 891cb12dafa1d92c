"""Keeps the claims of messages in flight from lapsing while their handlers live."""

from __future__ import annotations

import asyncio

import structlog

from shared.background import Background
from shared.errors import Unavailable
from shared.messaging.inbox.inbox import Claim, IdempotencyKey, Inbox

_log = structlog.get_logger(__name__)


class LeaseRenewal(Background):
    """Renews all claims in hand with one statement, every third of a lease."""

    def __init__(self, inbox: Inbox, lease_s: float) -> None:
        super().__init__("renew leases")
        self._inbox = inbox
        self._every_s = lease_s / 3
        self._held: set[tuple[IdempotencyKey, int]] = set()

    def hold(self, claim: Claim) -> None:
        self._held.add((claim.key, claim.number))

    def drop(self, claim: Claim) -> None:
        self._held.discard((claim.key, claim.number))

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            if not self._held:
                continue
            try:
                await self._inbox.renew(list(self._held))
            except Unavailable:
                # Whoever lost their claim meanwhile finds out at the commit, and writes nothing.
                _log.warning("leases could not be renewed", claims=len(self._held))
            except Exception:
                _log.exception("renewing leases failed")
