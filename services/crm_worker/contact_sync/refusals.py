"""Give up a contact that CRM refuses, or whose email is another user's, and report it once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from services.crm_worker.repositories.contacts import Contacts, WantedContact
from services.crm_worker.repositories.crm_values import CrmValues
from services.crm_worker.repositories.emails import Emails
from services.crm_worker.user_fields import unwritten_values
from shared.contracts.events import CommandFailed
from shared.errors import Postponed
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.messaging.outbox.committer import Committer
from shared.zoho.products.crm.settings import CrmFields

log = structlog.get_logger(__name__)

CONTACT_REFUSED: Final = "contact_refused"
EMAIL_OF_ANOTHER_USER: Final = "email_of_another_user"


class Refusals:
    """Records and announces refused contacts. They stay counted until a newer version is sent."""

    def __init__(
        self,
        service: str,
        contacts: Contacts,
        emails: Emails,
        crm_values: CrmValues,
        committer: Committer,
        crm: CrmFields,
    ) -> None:
        self._service = service
        self._contacts = contacts
        self._emails = emails
        self._crm_values = crm_values
        self._committer = committer
        self._ours: Mapping[str | None, str] = {
            "Email": "email",
            "Last_Name": "last_name",
            "Phone": "phone",
            "First_Name": "first_name",
            crm.zoho_crm_user_field: "user_id",
            crm.zoho_crm_tier_field: "tier",
        }

    async def by_crm(
        self,
        contact: WantedContact,
        zoho_code: str,
        fields: Sequence[str] = (),
        *,
        unwritten: bool = False,
    ) -> None:
        """Give up this version: CRM refuses it for good.

        `unwritten`: it is certain that CRM has written nothing of it.
        """
        names = ", ".join(self._ours.get(field, field) for field in fields)
        reason = f"CRM does not take the contact: {zoho_code}" + (f" in {names}" if names else "")
        try:
            async with self._committer.begin(contact.org) as work:
                self._contacts.record_refused(work, contact, zoho_code)
                if unwritten:
                    await self._record_unwritten(work, contact)
                if contact.zoho_id is None:
                    self._emails.free_all(work, contact)
                self._report(work, contact, CONTACT_REFUSED, reason)
        except Postponed:
            log.info("another replica has the contact")
        else:
            log.warning("contact refused", code=CONTACT_REFUSED, zoho_code=zoho_code)

    async def for_email(self, contact: WantedContact, *, repair: str | None = None) -> None:
        """Give up this version: the contact with this email is another user's, who keeps it.

        `repair`: the user whose contact CRM has just matched to this one. It is sent again.
        """
        try:
            async with self._committer.begin(contact.org) as work:
                if repair is not None:
                    self._emails.hand_over(work, contact, repair)
                    self._contacts.repair(work, repair)
                email = self._emails.entries(contact)[0].index
                self._contacts.record_refused(work, contact, EMAIL_OF_ANOTHER_USER, email)
                await self._record_unwritten(work, contact)
                self._report(
                    work,
                    contact,
                    EMAIL_OF_ANOTHER_USER,
                    "the email is that of another user, who has a contact in CRM already",
                )
        except Postponed:  # the email has just become free, or another replica has the contact
            await self._contacts.give_back([contact], after_s=0)
        else:
            log.warning("contact refused", code=EMAIL_OF_ANOTHER_USER, repaired=repair is not None)

    async def _record_unwritten(self, work: UnitOfWork, contact: WantedContact) -> None:
        """Note what CRM goes on having: otherwise it would look like a change by staff."""
        await self._crm_values.record_in_crm(work, contact, unwritten_values(contact))

    def _report(self, work: UnitOfWork, contact: WantedContact, code: str, reason: str) -> None:
        work.publish(
            CommandFailed(
                service=self._service,
                failed_routing_key=contact.changed_by_key,
                message_id=contact.changed_by_id,
                code=code,
                reason=reason,
            )
        )
