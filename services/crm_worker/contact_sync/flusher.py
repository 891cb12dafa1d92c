"""Bring CRM to the wanted state: contacts in batches, then their tags.

However many changes a contact had since the last time, it costs one row.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from services.crm_worker.contact_sync.contact_tags import SentContact, tag_contacts, tags_of
from services.crm_worker.contact_sync.contact_upserts import write_contacts
from services.crm_worker.contact_sync.refusals import Refusals
from services.crm_worker.repositories.contacts import Contacts, WantedContact
from services.crm_worker.repositories.emails import Emails
from shared import exponential_backoff
from shared.background import repeat
from shared.contracts.events import ContactSynced
from shared.errors import IntegrationError, Misconfigured, Postponed, Unavailable
from shared.messaging.handling.gate import Gate
from shared.messaging.outbox.committer import Committer
from shared.zoho.products.crm.client import ZohoCrm
from shared.zoho.products.crm.models import RowResult

log = structlog.get_logger(__name__)

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
        return exponential_backoff.wait_s(failures, self.first_retry_s, self.last_retry_s)


class Flusher:
    """Sends the contacts that CRM is behind on.

    Any number of replicas may run: a lease keeps them apart.
    """

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
        # Whatever fails, the contacts stay behind and are leased again.
        await repeat("flush contacts", self._flush_if_open, every_s=self._pace.every_s, stop=stop)

    async def _flush_if_open(self) -> bool:
        # The gate is not awaited: a stop must not wait for Zoho's day.
        return self._gate.is_open() and await self.flush_once() > 0

    async def flush_once(self) -> int:
        """Send one batch.

        Returns how many contacts were leased for it, 0 when there is nothing more to do right now.
        """
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
        email_taken = await self._emails.claim(leased)
        # CRM would match the other user's contact by the email. A user with a contact is written
        # by its id.
        refused = [c for c in leased if c.user_id in email_taken and c.zoho_id is None]
        batch = [contact for contact in leased if contact not in refused]
        results = await write_contacts(self._crm, batch, email_taken) if batch else []
        sent: list[SentContact] = []
        wrong_contact: list[tuple[WantedContact, str]] = []
        failed: list[tuple[WantedContact, RowResult]] = []
        for contact, result in zip(batch, results, strict=True):
            if not (result.ok and result.id):
                failed.append((contact, result))
            elif (owner := await self._other_owner(contact, result.id)) is not None:
                wrong_contact.append((contact, owner))
            else:
                sent.append(SentContact(contact, result.id, existed=result.action == "update"))
        for contact, owner in wrong_contact:
            await self._refusals.for_email(contact, repair=owner)
        not_tagged = await tag_contacts(self._crm, sent)
        await self._record([done for done in sent if done.zoho_id not in not_tagged])
        for unfinished in sent:
            if unfinished.zoho_id in not_tagged:
                await self._retry_later(unfinished.contact, not_tagged[unfinished.zoho_id])
        for contact, result in failed:
            await self._handle_failure(contact, result)
        for contact in refused:
            await self._refusals.for_email(contact)

    async def _record(self, sent: Sequence[SentContact]) -> None:
        async with self._committer.begin(self._crm.org) as work:
            for done in sent:
                contact = done.contact
                self._emails.keep_only_present(work, contact)
                await self._contacts.record_sent(work, contact, done.zoho_id)
                work.publish(
                    ContactSynced(
                        user_id=contact.user_id, tier=contact.tier, tags=tags_of(contact.tier)
                    )
                )

    async def _other_owner(self, contact: WantedContact, zoho_id: str) -> str | None:
        """Return the other user whose contact CRM matched by the email, if it did."""
        if zoho_id == contact.zoho_id:
            return None
        owner = await self._contacts.owner_of(contact.org, zoho_id)
        return None if owner == contact.user_id else owner

    async def _handle_failure(self, contact: WantedContact, result: RowResult) -> None:
        if result.may_pass:
            await self._retry_later(contact, result)
        else:
            await self._refusals.by_crm(contact, result)

    async def _retry_later(self, contact: WantedContact, result: RowResult) -> None:
        log.warning("contact not accepted", code=result.code)
        wait_s = max(result.wait_s, self._pace.retry_s(contact.failures))
        await self._contacts.give_back([contact], after_s=wait_s)
