"""Renew the claims of messages in flight while their handlers live."""

from __future__ import annotations

from shared.background import PeriodicTask
from shared.messaging.inbox.inbox import Claim, IdempotencyKey, Inbox


class LeaseRenewal(PeriodicTask):
    """Renews all claims in hand with one statement, every third of a lease."""

    def __init__(self, inbox: Inbox, lease_s: float) -> None:
        super().__init__("renew leases", every_s=lease_s / 3)
        self._inbox = inbox
        self._held: set[tuple[IdempotencyKey, int]] = set()

    def hold(self, claim: Claim) -> None:
        self._held.add((claim.key, claim.number))

    def drop(self, claim: Claim) -> None:
        self._held.discard((claim.key, claim.number))

    async def _run_once(self) -> bool:
        # When it fails, whoever loses a claim finds out at the commit, and writes nothing.
        if self._held:
            await self._inbox.renew(list(self._held))
        return False
