"""Presume, after a restore, that what the journal does not know may have been done.

A presumption is an intent of the time that the database has lost. What follows is what follows any
lost answer: wait until searches show it, look, and act only if it is absent.
"""

from __future__ import annotations

from shared.business_time import business_time
from shared.storage.recoveries import Recoveries, SearchedRecovery
from shared.zoho.call.http import Operation
from shared.zoho.effects.journal import EffectKey, EffectsJournal, EffectState, JournalEntry


class Presumptions:
    def __init__(self, journal: EffectsJournal, recoveries: Recoveries) -> None:
        self._journal = journal
        self._recoveries = recoveries

    async def presume(
        self,
        operation: Operation,
        key: EffectKey,
        entry: JournalEntry | None,
        owner: str | None,
        *,
        look_s: float,
    ) -> bool:
        """Presume that it was done, once in each recovery. False when there is no reason to.

        `look_s`: how long after the recovery began nobody looks. Until then, a request that was
        under way at the restore may still be done.
        """
        recovery = await self._reason(entry)
        if recovery is None:
            return False
        await self._journal.presume(
            key,
            product=operation.product,
            owner=owner,
            after=entry,
            recovery=recovery,
            look_s=look_s,
        )
        return True

    async def hold_for(self, entry: JournalEntry | None) -> bool:
        """Whether it is presumed, or is about to be. A stored result is taken not to stand."""
        if entry is not None and entry.state in (EffectState.INTENDED, EffectState.UNKNOWN):
            return False  # it may be done, and the journal says so
        return await self._reason(entry) is not None

    async def _reason(self, entry: JournalEntry | None) -> SearchedRecovery | None:
        recovery = await self._recoveries.searched()
        if recovery is None or (entry is not None and entry.recovery == recovery.id):
            return None
        if entry is not None and entry.state is EffectState.INTENDED:
            # The backup's, which may have been done again since. One of after the restore is not.
            return recovery if entry.intended_at < recovery.begun_at else None
        return None if recovery.surely_precedes(business_time()) else recovery
