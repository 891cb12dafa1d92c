"""Compare the contacts that were modified in CRM with what is stored.

A channel lapses, and webhooks are missed: CRM promises no retry. So everything modified since the
last comparison is compared again, at once when there was no channel for a time. What was compared
until when is recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog

from services.crm_worker.repositories.crm_values import CrmValues
from services.crm_worker.repositories.watches import Comparison, Watch, Watches
from services.crm_worker.watching.channel import Channel
from services.crm_worker.watching.contact_watcher import ContactWatcher
from services.crm_worker.watching.staff_changes import is_unclear, staff_changes
from shared.background import repeat
from shared.errors import IntegrationError, Postponed
from shared.messaging.outbox.committer import Committer, StaleRead
from shared.observability.metrics import Metrics
from shared.zoho.call.breakers import BreakerGate
from shared.zoho.products.crm.client import ZohoCrm
from shared.zoho.products.crm.models import CrmContact

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class ComparisonPacing:
    """Times in seconds.

    `every_s`: between two comparisons while no channel is open. `watched_every_s`: while one is.
    `overlap_s`: how much is compared twice, since CRM's clock and PostgreSQL's differ. `look_s`:
    between two looks at what is due.
    """

    every_s: float = 300.0
    watched_every_s: float = 3_600.0
    overlap_s: float = 600.0
    lease_s: float = 300.0
    look_s: float = 15.0


class ContactComparer:
    """Compares contacts, and keeps the channel.

    Any number of replicas may run: a lease lets one of them do it at a time.
    """

    def __init__(
        self,
        *,
        watches: Watches,
        values: CrmValues,
        watcher: ContactWatcher,
        committer: Committer,
        crm: ZohoCrm,
        channel: Channel | None,
        gate: BreakerGate,
        metrics: Metrics,
        pace: ComparisonPacing,
    ) -> None:
        self._watches = watches
        self._values = values
        self._watcher = watcher
        self._committer = committer
        self._crm = crm
        self._channel = channel
        self._gate = gate
        self._metrics = metrics
        self._pace = pace
        self._is_first = True

    async def run(self, stop: asyncio.Event) -> None:
        """Compare until stopped. A page under way is finished first."""
        await repeat("compare contacts", self._look, every_s=self._pace.look_s, stop=stop)

    async def _look(self) -> bool:
        if self._gate.is_open():
            await self.compare_once()
        return False

    async def compare_once(self) -> None:
        """Do what is due: prolong the channel, compare. What fails is due again later."""
        org, pace = self._crm.org, self._pace
        watch = await self._watches.lease(
            org,
            lease_s=pace.lease_s,
            keeps_channel=self._channel is not None,
            renew_now=self._is_first,
        )
        if watch is None:
            return
        self._is_first = False
        again_in_s: float | None = pace.every_s
        try:
            again_in_s = await self._do_what_is_due(watch)
        except IntegrationError as error:
            log.warning("contacts not compared", code=error.code)
            if isinstance(error, Postponed):
                again_in_s = max(error.retry_after_s, pace.look_s)
        finally:
            await self._watches.release(org, watch, again_in_s=again_in_s)

    async def _do_what_is_due(self, watch: Watch) -> float | None:
        """Return when to compare next, in seconds. None when that has not changed."""
        if watch.renewal_is_due and self._channel is not None:
            watch = await self._channel.keep(watch)
        if not (watch.is_due or watch.has_gap):
            return None
        await self._compare(watch)
        return self._pace.watched_every_s if watch.has_channel else self._pace.every_s

    async def _compare(self, watch: Watch) -> None:
        """Compare page by page. What was compared stays compared when a later page fails."""
        first = watch.compared_to - timedelta(seconds=self._pace.overlap_s)
        async for page, reached in self._crm.contacts_modified(first, watch.now):
            known, changes = await self._compare_page(page)
            comparison = Comparison(
                cause="gap" if watch.has_gap else "round",
                first=first,
                last=reached,
                contacts=known,
                changes=changes,
            )
            await self._watches.record_compared(
                self._crm.org, watch, comparison, lease_s=self._pace.lease_s
            )
            first = reached

    async def _compare_page(self, page: Sequence[CrmContact]) -> tuple[int, int]:
        """Return how many contacts are our users', and how many changes no webhook had reported."""
        # What CRM has was read before it is looked up what is stored, so it may be outdated by now:
        # whatever differs is read again, in the order that a comparison needs.
        by_id = {contact.id: contact for contact in page}
        known = await self._values.stored(self._crm.org, list(by_id))
        changes = 0
        for stored in known:
            # One that is being sent is modified once more, and comes in a later comparison.
            if not is_unclear(stored) and staff_changes(stored, by_id[stored.zoho_id]):
                changes += await self._compare_again(stored.zoho_id)
        self._metrics.gaps_found.labels("crm", self._crm.org).inc(changes)
        return len(known), changes

    async def _compare_again(self, zoho_id: str) -> bool:
        for stored in await self._values.stored(self._crm.org, [zoho_id]):
            seen = await self._crm.contact(zoho_id)
            if seen is None or is_unclear(stored):
                continue
            try:
                async with self._committer.begin(self._crm.org) as work:
                    return await self._watcher.compare(work, stored, seen)
            except StaleRead:
                log.info("a contact changed while it was compared, it comes again")
        return False
