"""Brings CRM to what is wanted: contacts in batches, then their tags.

However many changes a contact had since the last time, it costs one row.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from services.crm_worker.refusals import Refusals, without_optional
from services.crm_worker.repositories.contacts import Contacts, WantedContact
from services.crm_worker.repositories.emails import Emails
from services.crm_worker.user_fields import to_send
from shared.contracts.events import ContactSynced
from shared.errors import IntegrationError, Misconfigured, Postponed, Unavailable
from shared.messaging.handling.gate import Gate
from shared.messaging.outbox.committer import Committer
from shared.zoho.products.crm.client import ZohoCrm
from shared.zoho.products.crm.models import ContactToSend, RowResult

log = structlog.get_logger(__name__)

ALWAYS_TAGGED = ("App User", "Active")
TIER_TAGS = ("Free Tier", "Paid Tier", "Trial", "Churned")

# Up to 10 rows cost one credit and stay clear of CRM's limit on concurrent larger batches.
# https://www.zoho.com/crm/developer/docs/api/v8/api-limits.html
LIVE_BATCH = 10


@dataclass(frozen=True)
class FlushPacing:
    """Seconds. Changes of one contact within `every_s` become one row."""

    every_s: float = 1.0
    lease_s: float = 90.0
    first_retry_s: float = 5.0
    last_retry_s: float = 900.0

    def retry_s(self, failures: int) -> float:
        return float(min(self.first_retry_s * 2**failures, self.last_retry_s))


@dataclass(frozen=True)
class SentContact:
    """A contact that CRM has taken. `was_there`: it existed, so it may carry another tier's tag."""

    contact: WantedContact
    zoho_id: str
    was_there: bool


class Flusher:
    """Sends what CRM is behind on. Any number of replicas may run: a lease keeps them apart."""

    def __init__(
        self,
        *,
        contacts: Contacts,
        emails: Emails,
        refusals: Refusals,
        committer: Committer,
        crm: ZohoCrm,
        gate: Gate,
        pace: FlushPacing | None = None,
    ) -> None:
        self._contacts = contacts
        self._emails = emails
        self._refusals = refusals
        self._committer = committer
        self._crm = crm
        self._gate = gate
        self._pace = pace or FlushPacing()

    async def run(self, stop: asyncio.Event) -> None:
        """Flush until stopped. A batch under way is finished first."""
        while not stop.is_set():
            sent = 0
            try:
                if self._gate.is_open():  # not waited for: a stop must not wait for Zoho's day
                    sent = await self.flush_once()
            except Exception:
                # Whatever it was, the contacts stay behind and are leased again.
                log.exception("flush failed")
            if not sent:
                await _sleep(self._pace.every_s, stop)

    async def flush_once(self) -> int:
        """Send one batch. Returns how many contacts were leased for it, 0 when going on at once is
        of no use."""
        leased = await self._contacts.lease(
            self._crm.org, limit=LIVE_BATCH, lease_s=self._pace.lease_s
        )
        if leased:
            try:
                await self._send(leased)
            except IntegrationError as error:
                log.warning("contacts not sent", code=error.code, contacts=len(leased))
                await self._contacts.give_back(leased, after_s=self._wait_s(error, leased))
                if isinstance(error, Misconfigured):
                    return 0  # the next batch would be refused as this one was
        return len(leased)

    def _wait_s(self, error: IntegrationError, batch: Sequence[WantedContact]) -> float:
        match error:
            case Postponed(retry_after_s=wait_s):
                return wait_s
            case Unavailable(retry_after_s=float(wait_s)):
                return wait_s
            case Misconfigured():
                return self._pace.first_retry_s
            case _:
                return self._pace.retry_s(max(contact.failures for contact in batch))

    async def _send(self, leased: Sequence[WantedContact]) -> None:
        not_theirs = await self._emails.claim(leased)
        # CRM would find the other user's contact by the email. Who has a contact goes by its id.
        shut_out = [c for c in leased if c.user_id in not_theirs and c.zoho_id is None]
        batch = [c for c in leased if c not in shut_out]
        rows = await self._write(batch, not_theirs) if batch else []
        sent: list[SentContact] = []
        taken_over: list[tuple[WantedContact, str]] = []
        not_taken: list[tuple[WantedContact, RowResult]] = []
        for contact, row in zip(batch, rows, strict=True):
            if not (row.ok and row.id):
                not_taken.append((contact, row))
            elif (owner := await self._other_owner(contact, row.id)) is not None:
                taken_over.append((contact, owner))
            else:
                sent.append(SentContact(contact, row.id, was_there=row.action == "update"))
        for contact, owner in taken_over:
            await self._refusals.for_email(contact, mend=owner)
        later = await self._tag(sent)
        await self._record([one for one in sent if one.zoho_id not in later])
        for one in sent:
            if one.zoho_id in later:
                await self._later(one.contact, later[one.zoho_id])
        for contact, row in not_taken:
            await self._not_taken(contact, row)
        for contact in shut_out:
            await self._refusals.for_email(contact)

    async def _record(self, sent: Sequence[SentContact]) -> None:
        async with self._committer.begin(self._crm.org) as work:
            for one in sent:
                self._emails.keep_only_present(work, one.contact)
                await self._contacts.record_sent(work, one.contact, one.zoho_id)
                work.publish(
                    ContactSynced(
                        user_id=one.contact.user_id,
                        tier=one.contact.tier,
                        tags=(*ALWAYS_TAGGED, one.contact.tier),
                    )
                )

    async def _other_owner(self, contact: WantedContact, zoho_id: str) -> str | None:
        """The other user whose contact CRM has found by the email, if it did."""
        if zoho_id == contact.zoho_id:
            return None
        owner = await self._contacts.owner_of(contact.org, zoho_id)
        return None if owner == contact.user_id else owner

    async def _write(self, batch: Sequence[WantedContact], not_theirs: set[str]) -> list[RowResult]:
        """Write all. Those of which CRM refuses what is optional, once more without it."""
        wanted = [to_send(contact) for contact in batch]
        by_id = [self._id_to_go_by(contact, not_theirs) for contact in batch]
        rows = await self._write_once(wanted, by_id)
        reduced = {
            at: less
            for at, row in enumerate(rows)
            if not row.may_pass and (less := without_optional(wanted[at], row))
        }
        if reduced:
            log.warning("contacts sent without what CRM refuses", contacts=len(reduced))
            again = await self._write_once([*reduced.values()], [by_id[at] for at in reduced])
            for at, row in zip(reduced, again, strict=True):
                rows[at] = row
        return rows

    def _id_to_go_by(self, contact: WantedContact, not_theirs: set[str]) -> str | None:
        """Its id, where an upsert could find, or make, another contact than this user's.

        By email alone a changed email would make a second contact.
        """
        upsert_is_safe = (
            self._crm.finds_by_user_id
            and not contact.go_by_id
            and contact.user_id not in not_theirs
        )
        return None if upsert_is_safe else contact.zoho_id

    async def _write_once(
        self, wanted: Sequence[ContactToSend], by_id: Sequence[str | None]
    ) -> list[RowResult]:
        found = [one for one, zoho_id in zip(wanted, by_id, strict=True) if zoho_id is None]
        upserted = iter(await self._crm.upsert_contacts(found) if found else [])
        return [
            next(upserted) if zoho_id is None else await self._crm.update_contact(zoho_id, one)
            for one, zoho_id in zip(wanted, by_id, strict=True)
        ]

    async def _not_taken(self, contact: WantedContact, row: RowResult) -> None:
        if row.may_pass:
            await self._later(contact, row)
        else:
            await self._refusals.by_crm(contact, row)

    async def _later(self, contact: WantedContact, row: RowResult) -> None:
        log.warning("contact not taken", code=row.code)
        wait_s = max(row.wait_s, self._pace.retry_s(contact.failures))
        await self._contacts.give_back([contact], after_s=wait_s)

    async def _tag(self, sent: Sequence[SentContact]) -> dict[str, RowResult]:
        """Add first, then remove: in between a contact has both tags, never none.

        Tags that staff set stay: only the other tiers' are removed. Returns, by Zoho's id, what
        CRM did not do this time. What it never will (a contact with ten tags) is only logged.
        """
        gained: dict[str, list[str]] = defaultdict(list)
        moved: dict[str, list[str]] = defaultdict(list)
        for one in sent:
            if one.contact.sent_tier != one.contact.tier:
                gained[one.contact.tier].append(one.zoho_id)
                if one.was_there:
                    moved[one.contact.tier].append(one.zoho_id)
        later: dict[str, RowResult] = {}
        for tier, ids in gained.items():
            rows = await self._crm.add_tags(ids, [*ALWAYS_TAGGED, tier])
            later |= _not_tagged(ids, rows)
        for tier, ids in moved.items():
            others = [other for other in TIER_TAGS if other != tier]
            rows = await self._crm.remove_tags(ids, others)
            later |= _not_tagged(ids, rows)
        return later


def _not_tagged(ids: Sequence[str], rows: Sequence[RowResult]) -> dict[str, RowResult]:
    for row in rows:
        if not row.ok:
            log.warning("contact not tagged", code=row.code)
    return {zoho_id: row for zoho_id, row in zip(ids, rows, strict=False) if row.may_pass}


async def _sleep(seconds: float, stop: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
