"""Record an interaction as a note on the contact."""

from __future__ import annotations

from services.crm_worker.create_note import CreateNote
from services.crm_worker.repositories.contacts import Contacts
from shared.contracts.commands import InteractionRecorded
from shared.crypto.envelope import UserKey
from shared.errors import NotYetKnown, Postponed
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.zoho.effects.effects import Effects
from shared.zoho.products.crm.client import CREATE_NOTE, ZohoCrm

UNTIL_SYNCED_S = 5.0


async def note_interaction(
    message: InteractionRecorded,
    work: UnitOfWork,
    *,
    contacts: Contacts,
    crm: ZohoCrm,
    effects: Effects,
) -> None:
    if not await contacts.is_known(work.org, message.user_id):
        raise NotYetKnown("no sign-up of this user arrived yet")
    contact_id = await contacts.zoho_id(work.org, message.user_id)
    if contact_id is None:
        raise Postponed("the contact is not in CRM yet", retry_after_s=UNTIL_SYNCED_S)
    await effects.perform(
        CREATE_NOTE,
        message.interaction_id,
        UserKey(work.org, message.user_id),
        CreateNote(zoho=crm, message=message, contact_id=contact_id),
    )
