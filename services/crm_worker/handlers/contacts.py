"""Record what a contact should be, from sign-ups, updates, and tiers that billing-worker announces.

Nothing here calls CRM. The handlers record the wanted state, and the flusher brings CRM to it.
"""

from __future__ import annotations

from services.crm_worker.repositories.contacts import Contacts
from services.crm_worker.user_fields import contact_fields
from shared.contracts.commands import UserSignedUp, UserUpdated
from shared.contracts.events import SubscriptionChanged
from shared.errors import NotYetKnown
from shared.messaging.handling.unit_of_work import UnitOfWork

# A sign-up is older than any update, even than one that overtook it.
ARRIVAL_OF_SIGN_UP = 0


async def want_contact(message: UserSignedUp, work: UnitOfWork, *, contacts: Contacts) -> None:
    fields = message.model_dump(exclude_none=True)
    await contacts.want(work, message.user_id, contact_fields(fields), arrived=ARRIVAL_OF_SIGN_UP)


async def want_changes(message: UserUpdated, work: UnitOfWork, *, contacts: Contacts) -> None:
    if not await contacts.is_known(work.org, message.user_id):
        raise NotYetKnown("no sign-up of this user arrived yet", key=message.user_id)
    fields = contact_fields(message.changes())
    await contacts.want(work, message.user_id, fields, arrived=work.arrived)


async def want_tier(event: SubscriptionChanged, work: UnitOfWork, *, contacts: Contacts) -> None:
    contacts.want_tier(work, event.user_id, event.tier, version=event.tier_version or 0)
