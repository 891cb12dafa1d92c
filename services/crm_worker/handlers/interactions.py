"""What was said to a user, kept as a note on the contact."""

from __future__ import annotations

from typing import Any

from services.crm_worker.repositories.contacts import Contacts
from shared.contracts.commands import InteractionRecorded
from shared.crypto.envelope import UserKey
from shared.errors import NotYetKnown, Postponed
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.zoho.call.http import Permit
from shared.zoho.effects.effects import EffectKey, Effects
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
    ref = f"ref {message.interaction_id}"

    async def act(permit: Permit) -> dict[str, Any]:
        row = await crm.create_note(
            contact_id,
            title=message.title,
            content=f"{message.content}\n\n{ref}",
            permit=permit,
        )
        return {"note_id": row.id}

    async def find() -> dict[str, Any] | None:
        for note in await crm.notes_of(contact_id):
            if (note.content or "").splitlines()[-1:] == [ref]:
                return {"note_id": note.id}
        return None

    await effects.perform(
        EffectKey(work.org, CREATE_NOTE.name, message.interaction_id),
        product="crm",
        lane=crm.lane,
        act=act,
        find=find,
        settle_s=CREATE_NOTE.settle_s,
        owner=UserKey(work.org, message.user_id),
    )
