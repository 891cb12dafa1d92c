"""Send one batch of contacts to CRM, and record what became of each.

A contact's owner is checked before and after: CRM matches contacts by email too, and could match
another user's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from services.crm_worker.contact_sync.absent_contacts import absent_users
from services.crm_worker.contact_sync.contact_tags import SentContact, TaggingResult, tag_contacts
from services.crm_worker.contact_sync.contact_upserts import (
    WrittenContact,
    completed,
    write_contacts,
)
from services.crm_worker.contact_sync.refusals import Refusals
from services.crm_worker.repositories.contacts import Contacts, WantedContact
from services.crm_worker.repositories.crm_values import CrmValues
from services.crm_worker.repositories.emails import Emails
from services.crm_worker.user_fields import outdated_fields, sent_values, unwritten_values
from shared import exponential_backoff
from shared.contracts.events import ContactSynced
from shared.errors import ZohoRejected
from shared.messaging.outbox.committer import Committer
from shared.zoho.products.crm.client import ZohoCrm
from shared.zoho.products.crm.models import RowResult

log = structlog.get_logger(__name__)

_FIRST_RETRY_S: Final = 5.0
_LONGEST_RETRY_S: Final = 900.0
# Staff free a tag's room when they like. Looking costs three calls.
_FIRST_RETAG_S: Final = 300.0
_LONGEST_RETAG_S: Final = 86_400.0


def retry_s(failures: int) -> float:
    """Return the wait before a contact that failed is sent again."""
    return exponential_backoff.wait_s(failures, _FIRST_RETRY_S, _LONGEST_RETRY_S)


@dataclass
class _Results:
    """What CRM made of a batch."""

    sent: list[SentContact] = field(default_factory=list)
    gone: list[WantedContact] = field(default_factory=list)
    wrong_contact: list[tuple[WantedContact, str]] = field(default_factory=list)
    failed: list[tuple[WantedContact, RowResult]] = field(default_factory=list)


class ContactSender:
    """Writes contacts, sets their tags, and records the results."""

    def __init__(
        self,
        *,
        contacts: Contacts,
        emails: Emails,
        refusals: Refusals,
        committer: Committer,
        crm: ZohoCrm,
        crm_values: CrmValues,
    ) -> None:
        self._contacts = contacts
        self._crm_values = crm_values
        self._emails = emails
        self._refusals = refusals
        self._committer = committer
        self._crm = crm

    async def send(self, leased: Sequence[WantedContact]) -> None:
        """Send them in one call, and handle each one's own result.

        Raises: an error of the call as a whole. Nothing is recorded of what was not handled yet.
        """
        email_taken = await self._emails.claim(leased)
        # CRM would match the other user's contact by the email. A user with a contact is written
        # by its id.
        refused = [c for c in leased if c.user_id in email_taken and c.zoho_id is None]
        batch = [contact for contact in leased if contact not in refused]
        absent = await absent_users(self._crm, batch)
        # A lost answer would leave values that look as if staff had written them.
        await self._crm_values.forget(
            [(contact, field) for contact in batch for field in outdated_fields(contact)]
        )
        written = await self._write(batch, email_taken, absent) if batch else []
        results = await self._sorted(written)
        for contact, owner in results.wrong_contact:
            await self._refusals.for_email(contact, repair=owner)
        await self._tag_and_record(results.sent, written)
        for contact in results.gone:
            await self._find_again(contact)
        for contact, result in results.failed:
            await self._handle_failure(contact, result)
        for contact in refused:
            await self._refusals.for_email(contact)

    async def _write(
        self, batch: Sequence[WantedContact], email_taken: set[str], absent: set[str]
    ) -> list[WrittenContact]:
        try:
            return await write_contacts(self._crm, batch, without_email=email_taken, absent=absent)
        except ZohoRejected:
            # Of several, some may have been written before, by calls of their own.
            if len(batch) == 1:
                async with self._committer.begin(self._crm.org) as work:
                    await self._crm_values.record_in_crm(work, batch[0], unwritten_values(batch[0]))
            raise

    async def _sorted(self, written: Sequence[WrittenContact]) -> _Results:
        results = _Results()
        for item in written:
            contact, result = item.contact, await self._adopted(item)
            if item.by_id and result.is_unknown_id:
                results.gone.append(contact)
            elif not (result.ok and result.id):
                results.failed.append((contact, result))
            elif (owner := await self._other_owner(contact, result.id)) is not None:
                results.wrong_contact.append((contact, owner))
            else:
                whole = await completed(self._crm, replace(item, result=result))
                if whole.result.ok:
                    results.sent.append(_sent_contact(whole, result.id))
                else:
                    results.failed.append((contact, whole.result))
        return results

    async def _adopted(self, item: WrittenContact) -> RowResult:
        """Write the contact that stands in the way, where it is nobody's and the user has none."""
        contact, result = item.contact, item.result
        if result.code != "DUPLICATE_DATA" or result.id is None or contact.zoho_id is not None:
            return result
        if await self._other_owner(contact, result.id) is not None:
            return result
        return await self._crm.update_contact(result.id, replace(item.whole, tags=()))

    async def _tag_and_record(
        self, sent: Sequence[SentContact], written: Sequence[WrittenContact]
    ) -> None:
        # A lost answer would leave tags that nobody knows of.
        await self._contacts.forget_tags([done.contact for done in sent if not done.is_tagged])
        tagging = await tag_contacts(self._crm, sent)
        left_out = {item.contact.user_id: item.left_out for item in written}
        await self._record(
            [done for done in sent if done.zoho_id not in tagging.failed], tagging, left_out
        )
        for done in sent:
            if done.zoho_id in tagging.failed:
                await self._retry_later(done.contact, tagging.failed[done.zoho_id])

    async def _record(
        self,
        sent: Sequence[SentContact],
        tagging: TaggingResult,
        left_out: dict[str, tuple[str, ...]],
    ) -> None:
        async with self._committer.begin(self._crm.org) as work:
            for done in sent:
                contact, tags = done.contact, tagging.tags[done.zoho_id]
                self._emails.keep_only_present(work, contact)
                await self._contacts.record_sent(
                    work, contact, done.zoho_id, tags=tags, retag_after_s=_retag_after_s(done, tags)
                )
                await self._crm_values.record_in_crm(work, contact, done.values)
                if contact.is_behind or contact.sent_tags != frozenset(tags):
                    work.publish(
                        ContactSynced(
                            user_id=contact.user_id,
                            tier=contact.tier,
                            tags=tags,
                            left_out=left_out[contact.user_id],
                        )
                    )

    async def _other_owner(self, contact: WantedContact, zoho_id: str) -> str | None:
        """Return the other user whose contact this is, if it is one's."""
        if zoho_id == contact.zoho_id:
            return None
        owner = await self._contacts.owner_of(contact.org, zoho_id)
        return None if owner == contact.user_id else owner

    async def _find_again(self, contact: WantedContact) -> None:
        """Forget the id of a contact that staff deleted or merged, and send it by its fields."""
        assert contact.zoho_id is not None  # noqa: S101 - it was written by its id
        log.info("a contact is gone from CRM, it is found again or made anew")
        await self._contacts.forget_zoho_id(contact.org, contact.user_id, contact.zoho_id)

    async def _handle_failure(self, contact: WantedContact, result: RowResult) -> None:
        if result.may_pass:
            await self._retry_later(contact, result)
        else:
            await self._refusals.by_crm(contact, result.code, result.fields, unwritten=True)

    async def _retry_later(self, contact: WantedContact, result: RowResult) -> None:
        log.warning("contact not accepted", code=result.code)
        wait_s = max(result.wait_s, retry_s(contact.failures))
        await self._contacts.give_back([contact], after_s=wait_s)


def _sent_contact(item: WrittenContact, zoho_id: str) -> SentContact:
    contact, values = item.contact, sent_values(item.sent)
    if zoho_id == contact.zoho_id:
        values = {**unwritten_values(contact), **values}
    return SentContact(
        contact,
        zoho_id,
        inserted=item.result.action == "insert",
        inserted_tags=item.sent.tags,
        values=values,
    )


def _retag_after_s(done: SentContact, tags: Sequence[str]) -> float | None:
    if set(tags) == set(done.wanted_tags):
        return None
    return exponential_backoff.wait_s(done.contact.retags, _FIRST_RETAG_S, _LONGEST_RETAG_S)
