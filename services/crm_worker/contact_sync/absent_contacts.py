"""Find out of which users CRM has no contact yet.

Only a new contact may be sent with its tags: those of an existing one would be replaced.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from services.crm_worker.repositories.contacts import WantedContact
from shared.errors import Misconfigured, ZohoRejected
from shared.zoho.products.crm.client import ZohoCrm

log = structlog.get_logger(__name__)


async def absent_users(crm: ZohoCrm, contacts: Sequence[WantedContact]) -> set[str]:
    """Return the users of whom CRM has no contact, neither by our field nor by the email.

    Empty when CRM does not answer that: the tags are added after the contact is made then. What it
    refuses is our query, so no contact may be given up for it.
    """
    new = [
        contact
        for contact in contacts
        if contact.zoho_id is None and can_be_asked(contact.user_id, contact.email)
    ]
    if not new:
        return set()
    try:
        found = await crm.existing_contacts(
            [contact.user_id for contact in new], [contact.email for contact in new]
        )
    except (Misconfigured, ZohoRejected) as error:
        log.warning("new contacts get their tags in a second call", code=error.code)
        return set()
    users = {crm.user_of(contact) for contact in found}
    emails = {(contact.email or "").casefold() for contact in found}
    return {
        contact.user_id
        for contact in new
        if contact.user_id not in users and contact.email.casefold() not in emails
    }


def can_be_asked(*texts: str) -> bool:
    """Whether a query can hold these texts: nothing says how a backslash is written."""
    return not any("\\" in text for text in texts)
