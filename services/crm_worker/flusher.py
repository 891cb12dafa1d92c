"""Brings CRM to what is wanted: contacts in batches, then their tags.

However many changes a contact had since the last time, it costs one row.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from services.crm_worker.person import to_send
from services.crm_worker.repositories.contacts import Contacts, WantedContact
from shared.contracts.events import ContactSynced
from shared.errors import IntegrationError, Misconfigured, Postponed, Unavailable
from shared.messaging.committer import Committer
from shared.messaging.gate import Gate
from shared.zoho.crm import ZohoCrm
from shared.zoho.crm_models import Row

log = structlog.get_logger(__name__)

ALWAYS_TAGGED = ("App User", "Active")
TIER_TAGS = ("Free Tier", "Paid Tier", "Trial", "Churned")

# Up to 10 rows cost one credit and stay clear of CRM's limit on concurrent larger batches.
# https://www.zoho.com/crm/developer/docs/api/v8/api-limits.html
LIVE_BATCH = 10

# Refusals of a row that another time may not meet.
# https://www.zoho.com/crm/developer/docs/api/v8/upsert-records.html
MAY_PASS = {"RECORD_LOCKED", "INTERNAL_ERROR", "ALREADY_MODIFIED"}


@dataclass(frozen=True)
class Pace:
    """Seconds. Changes of one contact within `every_s` become one row."""

    every_s: float = 1.0
    lease_s: float = 90.0
    first_retry_s: float = 5.0
    last_retry_s: float = 900.0

    def retry_s(self, failures: int) -> float:
        return float(min(self.first_retry_s * 2**failures, self.last_retry_s))


@dataclass(frozen=True)
class Sent:
    """A contact that CRM has taken; `was_there`: it existed, so it may carry another tier's tag."""

    contact: WantedContact
    zoho_id: str
    was_there: bool


class Flusher:
    """Sends what CRM is behind on. Any number of replicas may run: a lease keeps them apart."""

    def __init__(
        self,
        *,
        contacts: Contacts,
        committer: Committer,
        crm: ZohoCrm,
        gate: Gate,
        pace: Pace | None = None,
    ) -> None:
        self._contacts = contacts
        self._committer = committer
        self._crm = crm
        self._gate = gate
        self._pace = pace or Pace()

    async def run(self, stop: asyncio.Event) -> None:
        """Flush until stopped; a batch under way is finished first."""
        while not stop.is_set():
            sent = 0
            try:
                await self._gate.opened()
                sent = await self.flush_once()
            except Exception:
                # Whatever it was, the contacts stay behind and are leased again.
                log.exception("flush failed")
            if not sent:
                await _sleep(self._pace.every_s, stop)

    async def flush_once(self) -> int:
        """Send one batch; returns how many contacts were leased for it."""
        leased = await self._contacts.lease(
            self._crm.org, limit=LIVE_BATCH, lease_s=self._pace.lease_s
        )
        batch, later = _one_per_email(leased)
        if later:
            await self._contacts.give_back(later, after_s=0)
        if batch:
            try:
                await self._send(batch)
            except IntegrationError as error:
                log.warning("contacts not sent", code=error.code, contacts=len(batch))
                await self._contacts.give_back(batch, after_s=self._wait_s(error, batch))
        return len(leased)

    def _wait_s(self, error: IntegrationError, batch: Sequence[WantedContact]) -> float:
        match error:
            case Postponed(retry_after_s=wait_s):
                return wait_s
            case Unavailable(retry_after_s=float(wait_s)):
                return wait_s
            case Misconfigured():
                return self._pace.first_retry_s  # the gate waits for the rest
            case _:
                return self._pace.retry_s(max(contact.failures for contact in batch))

    async def _send(self, batch: Sequence[WantedContact]) -> None:
        rows = await self._write(batch)
        sent: list[Sent] = []
        for contact, row in zip(batch, rows, strict=True):
            if row.ok and row.id:
                sent.append(Sent(contact, row.id, was_there=row.action == "update"))
            else:
                await self._not_taken(contact, row)
        await self._tag(sent)
        async with self._committer.begin(self._crm.org) as work:
            for one in sent:
                await self._contacts.record_sent(work, one.contact, one.zoho_id)
                work.publish(
                    ContactSynced(
                        user_id=one.contact.user_id,
                        tier=one.contact.tier,
                        tags=(*ALWAYS_TAGGED, one.contact.tier),
                    )
                )

    async def _write(self, batch: Sequence[WantedContact]) -> list[Row]:
        if self._crm.finds_by_user_id:
            return await self._crm.upsert_contacts([to_send(contact) for contact in batch])
        # By email alone a changed email would make a second contact: who is known goes by id.
        new = [contact for contact in batch if contact.zoho_id is None]
        upserted = await self._crm.upsert_contacts([to_send(c) for c in new]) if new else []
        rows = iter(upserted)
        return [
            next(rows)
            if contact.zoho_id is None
            else await self._crm.update_contact(contact.zoho_id, to_send(contact))
            for contact in batch
        ]

    async def _not_taken(self, contact: WantedContact, row: Row) -> None:
        log.warning("contact not taken", code=row.code)
        if row.code in MAY_PASS:
            await self._contacts.give_back([contact], after_s=self._pace.retry_s(contact.failures))
        else:
            await self._contacts.refuse(contact, row.code)

    async def _tag(self, sent: Sequence[Sent]) -> None:
        """Add first, then remove: in between a contact has both tags, never none.

        Tags that staff set stay: only the other tiers' are removed.
        """
        gained: dict[str, list[str]] = defaultdict(list)
        moved: dict[str, list[str]] = defaultdict(list)
        for one in sent:
            if one.contact.sent_tier != one.contact.tier:
                gained[one.contact.tier].append(one.zoho_id)
                if one.was_there:
                    moved[one.contact.tier].append(one.zoho_id)
        for tier, ids in gained.items():
            await self._crm.add_tags(ids, [*ALWAYS_TAGGED, tier])
        for tier, ids in moved.items():
            await self._crm.remove_tags(ids, [other for other in TIER_TAGS if other != tier])


def _one_per_email(
    contacts: Sequence[WantedContact],
) -> tuple[list[WantedContact], list[WantedContact]]:
    """Split off contacts whose email stands in the batch already.

    What CRM makes of one email twice in a batch is not defined.
    """
    batch: dict[str, WantedContact] = {}
    later = [c for c in contacts if batch.setdefault(c.email.casefold(), c) is not c]
    return list(batch.values()), later


async def _sleep(seconds: float, stop: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
