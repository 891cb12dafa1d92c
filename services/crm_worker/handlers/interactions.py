"""Record an interaction as a note on the contact."""

from __future__ import annotations

from services.crm_worker.create_note import CreateNote
from services.crm_worker.repositories.contacts import Contacts
from shared.contracts.commands import InteractionRecorded
from shared.contracts.fingerprint import fingerprint
from shared.crypto.envelope import UserKey
from shared.errors import NotYetKnown, PermanentError, Postponed, ZohoRejected
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.messaging.inbox.line_heads import LineHeads
from shared.zoho.effects.effects import Effects
from shared.zoho.products.crm.client import CREATE_NOTE, ZohoCrm


async def note_interaction(
    message: InteractionRecorded,
    work: UnitOfWork,
    *,
    contacts: Contacts,
    heads: LineHeads,
    crm: ZohoCrm,
    effects: Effects,
) -> None:
    if not await contacts.is_known(work.org, message.user_id):
        raise NotYetKnown("no sign-up of this user arrived yet", key=message.user_id)
    contact_id = await contacts.zoho_id(work.org, message.user_id)
    if contact_id is None:
        # Refused, or not sent yet. What would cure it may be behind this message.
        raise _no_contact(message.user_id)
    if not await heads.is_first(work.arrived):
        # Such as an interaction that waited for the contact, which came after this one was leased.
        raise Postponed("an earlier message goes first", retry_after_s=0, code="overtaken")
    note = CreateNote(zoho=crm, message=message, contact_id=contact_id)
    owner = UserKey(work.org, message.user_id)
    try:
        result = await effects.perform(CREATE_NOTE, message.interaction_id, owner, note)
    except ZohoRejected:
        if await crm.contact(contact_id) is not None:
            raise
        # Staff deleted or merged it. The flusher finds it again, or makes it anew.
        await contacts.forget_zoho_id(work.org, message.user_id, contact_id)
        raise _no_contact(message.user_id) from None
    if result.get("fingerprint") != fingerprint(message):
        raise PermanentError("this interaction was recorded with other content", code="id_taken")


def _no_contact(user_id: str) -> NotYetKnown:
    return NotYetKnown(
        "CRM has no contact of this user yet", kind="contact", key=user_id, code="contact_missing"
    )
