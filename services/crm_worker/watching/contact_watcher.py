"""Take over what staff wrote into the email or the phone of a contact, and announce it.

Nothing else of a contact is taken over: names and tags are the application's.
"""

from __future__ import annotations

import structlog
from pydantic import ValidationError

from services.crm_worker.repositories.crm_values import CrmValues, StoredContact
from services.crm_worker.repositories.emails import Emails
from services.crm_worker.watching.staff_changes import StaffChange, staff_changes
from shared.contracts.events import ContactChanged, ContactFields
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.zoho.products.crm.models import CrmContact

log = structlog.get_logger(__name__)


class ContactWatcher:
    """Compares contacts as read with what is stored."""

    def __init__(self, values: CrmValues, emails: Emails) -> None:
        self._values = values
        self._emails = emails

    async def compare(self, work: UnitOfWork, stored: StoredContact, seen: CrmContact) -> bool:
        """Record and announce what staff changed. Returns whether there was anything.

        `stored` was read before `seen`, and the commit fails when it has changed since. It is not
        unclear (`is_unclear`).
        """
        taken: list[StaffChange] = []
        for change in staff_changes(stored, seen):
            if _is_acceptable(change):
                await self._values.take_over(work, stored, change.field, change.value)
                taken.append(change)
            elif change.field in stored.wanted:
                log.warning("what staff wrote is not taken over", field=change.field)
                await self._values.leave(work, stored, change.field, change.value)
        for change in taken:
            if change.field == "email":
                self._emails.change(work, stored.org, stored.user_id, change.value)
        if taken:
            fields = ContactFields(**{change.field: change.value for change in taken})
            work.publish(ContactChanged(user_id=stored.user_id, fields=fields))
        return bool(taken)


def _is_acceptable(change: StaffChange) -> bool:
    """Whether it can be announced. A contact without an email cannot be found by it again."""
    if change.field == "email" and not change.value:
        return False
    try:
        ContactFields(**{change.field: change.value})
    except ValidationError:
        return False
    return True
