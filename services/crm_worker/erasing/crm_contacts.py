"""Erase a user's contact in CRM: notes, tags, then every field that says who it is."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog

from services.crm_worker.contact_sync.absent_contacts import can_be_asked
from services.crm_worker.repositories.contact_fields import ContactFields
from services.crm_worker.repositories.contacts import Contacts
from services.crm_worker.repositories.emails import TRY_AGAIN
from shared.contracts.webhooks import Product
from shared.crypto.envelope import UserKey
from shared.erasing.outcome import PartOutcome
from shared.erasing.placeholder import Placeholders
from shared.erasing.row_cleanup import RowCleanup
from shared.errors import Misconfigured, Postponed, ZohoRejected
from shared.zoho.effects.effects import Effects
from shared.zoho.products.crm.client import CREATE_NOTE, MOST_NOTES, ZohoCrm
from shared.zoho.products.crm.models import CrmContact, RowResult

log = structlog.get_logger(__name__)

# Standard fields of Contacts that say who somebody is.
# https://www.zoho.com/crm/developer/docs/api/v8/insert-records.html
_PERSONAL: Final = (
    "Salutation", "First_Name", "Email", "Secondary_Email", "Phone", "Mobile",
    "Home_Phone", "Other_Phone", "Asst_Phone", "Fax", "Assistant", "Title", "Department",
    "Date_of_Birth", "Skype_ID", "Twitter", "Description", "Mailing_Street", "Mailing_City",
    "Mailing_State", "Mailing_Zip", "Mailing_Country", "Other_Street", "Other_City",
    "Other_State", "Other_Zip", "Other_Country",
)  # fmt: skip

# Whoever was refused because the user had the email gets it now.
CLEANUP: Final = RowCleanup(after=(TRY_AGAIN,))


@dataclass(frozen=True, kw_only=True)
class CrmErasure:
    """CRM's part. `longest_flush_s`: how long a flush that began before may still write.

    `delete_notes`: otherwise the notes stay, and the receipt names them.
    """

    crm: ZohoCrm
    effects: Effects
    contacts: Contacts
    fields: ContactFields
    placeholders: Placeholders
    longest_flush_s: float
    delete_notes: bool
    product: Product = "crm"

    async def erase(self, user: UserKey, outcome: PartOutcome) -> None:
        leased_s = await self.contacts.leased_for_s(
            user.org, user.user_id, lease_s=self.longest_flush_s
        )
        if leased_s > 0:
            raise Postponed(
                "a flush of the contact may be under way",
                retry_after_s=leased_s,
                code="erasure_waits",
            )
        await outcome.remember({"contact": await self._contacts(user)})
        await outcome.remember({"note": await self._made_notes(user)})
        tried: set[str] = set()
        await self._erase_notes(outcome, tried)
        for contact_id in outcome.ids("contact"):
            await self._erase_contact(user, contact_id, outcome, tried)
        if not self.delete_notes:
            count = len(outcome.ids("note"))
            reason = "kept by configuration"
            if count >= MOST_NOTES:
                reason += ", at least so many"
            outcome.keep("note", reason, count=count)

    async def _contacts(self, user: UserKey) -> list[str]:
        """The user's contacts: the one that is stored, and what a lost answer may have made."""
        stored = await self.contacts.zoho_id(user.org, user.user_id)
        found = [] if stored is None else [stored]
        stored_fields = await self.fields.of(user.org, [user.user_id], only=("email",))
        email = stored_fields[user.user_id].wanted.get("email")
        if email:
            candidates = await self._candidates(user, email)
            found += [each.id for each in candidates if await self._is_theirs(user, each)]
        return found

    async def _candidates(self, user: UserKey, email: str) -> list[CrmContact]:
        """Return the contacts with the user's id or email.

        A query reads the records. A search misses what was made in the last minutes, so it is only
        for what a query cannot be asked, or an organization in which we may not ask one.
        """
        if can_be_asked(user.user_id, email):
            try:
                return await self.crm.existing_contacts([user.user_id], [email])
            except (Misconfigured, ZohoRejected) as error:
                log.warning("the contacts of an erased user are searched for", code=error.code)
        return await self.crm.contacts_with_email(email)

    async def _is_theirs(self, user: UserKey, contact: CrmContact) -> bool:
        if self.crm.finds_by_user_id:
            return self.crm.user_of(contact) == user.user_id
        return await self.contacts.owner_of(user.org, contact.id) in (None, user.user_id)

    async def _made_notes(self, user: UserKey) -> list[str]:
        """Notes of ours, wherever staff moved them."""
        made = await self.effects.made_for(user, self.product)
        results = [each.result for each in made if each.operation == CREATE_NOTE.name]
        return [str(result["note_id"]) for result in results if result and result.get("note_id")]

    async def _erase_contact(
        self, user: UserKey, contact_id: str, outcome: PartOutcome, tried: set[str]
    ) -> None:
        contact = await self.crm.contact(contact_id)
        if contact is None:  # deleted, or merged into another one
            outcome.count("contact")
            return
        # Staff's notes too. Those beyond what can be listed are found when the others are gone.
        await self._find_notes(contact_id, outcome)
        while await self._erase_notes(outcome, tried):
            await self._find_notes(contact_id, outcome)
        if contact.tag_names:
            await _written(outcome, "tags of the contact", self._untag(contact))
        emptied = self.crm.anonymize_contact(contact_id, self._emptied(user, contact))
        await _written(outcome, "contact", emptied)
        outcome.keep("contact", "an empty record", count=1)

    async def _find_notes(self, contact_id: str, outcome: PartOutcome) -> None:
        await outcome.remember({"note": [note.id async for note in self.crm.notes_of(contact_id)]})

    async def _erase_notes(self, outcome: PartOutcome, tried: set[str]) -> bool:
        """Delete the notes that are known and not `tried`. Returns whether there were any."""
        left = [note_id for note_id in outcome.ids("note") if note_id not in tried]
        if not self.delete_notes:
            return False
        for note_id in left:
            await _written(outcome, "note", self.crm.delete_note(note_id))
        tried |= {*left}
        return bool(left)

    async def _untag(self, contact: CrmContact) -> RowResult:
        (result,) = await self.crm.remove_tags([contact.id], sorted(contact.tag_names))
        return result

    def _emptied(self, user: UserKey, contact: CrmContact) -> Mapping[str, Any]:
        """What to write. Only fields that the contact has: an organization may lack others."""
        filled = [
            field for field in (*_PERSONAL, *self.crm.our_fields) if contact.fields.get(field)
        ]
        return {"Last_Name": self.placeholders.of(user).name, **dict.fromkeys(filled)}


async def _written(outcome: PartOutcome, what: str, write: Awaitable[RowResult]) -> None:
    """Count what CRM did. A record that is gone counts: it had been found."""
    try:
        result = await write
    except ZohoRejected as error:
        outcome.refuse(what, error.zoho_code or str(error.status))
        return
    if result.ok or result.is_unknown_id:
        outcome.count(what)
    else:
        outcome.refuse(what, result.code)
