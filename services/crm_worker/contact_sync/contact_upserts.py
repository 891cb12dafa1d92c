"""Write contacts to CRM, without the optional fields that it refuses."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog

from services.crm_worker.contact_sync.contact_tags import tags_of
from services.crm_worker.repositories.contacts import WantedContact
from services.crm_worker.user_fields import to_send, whole_row
from shared.zoho.products.crm.client import ZohoCrm
from shared.zoho.products.crm.models import ContactToSend, RowResult

log = structlog.get_logger(__name__)

# A contact without them is better than none.
_OPTIONAL: Final[Mapping[str, str]] = {"Phone": "phone", "First_Name": "first_name"}
# Refused where a module has a hundred tags. They are added afterwards, as far as they fit.
_TAGS: Final = "Tag"


@dataclass(frozen=True)
class WrittenContact:
    """A contact as it was sent, and CRM's result.

    `whole`: with the fields that CRM has already. `left_out`: our names of the fields that CRM was
    not sent, because it would not accept them.
    """

    contact: WantedContact
    whole: ContactToSend
    sent: ContactToSend
    by_id: bool
    result: RowResult
    left_out: tuple[str, ...] = ()


async def write_contacts(
    crm: ZohoCrm,
    batch: Sequence[WantedContact],
    *,
    without_email: Collection[str],
    absent: Collection[str],
) -> list[WrittenContact]:
    """Write the batch, and return one result per contact, in order.

    A contact of which CRM refuses optional fields is written once more without them.
    `without_email`: the users whose email is another user's, so CRM must not match by it.
    `absent`: those of whom CRM has no contact. The new one carries its tags from the start.
    """
    whole = [_whole(contact, is_new=contact.user_id in absent) for contact in batch]
    rows = [to_send(contact, row) for contact, row in zip(batch, whole, strict=True)]
    ids = [_id_to_write(crm, contact, without_email) for contact in batch]
    results = await _write_once(crm, rows, ids)
    reduced = {
        position: smaller
        for position, result in enumerate(results)
        if not result.may_pass and (smaller := without_optional(rows[position], result))
    }
    if reduced:
        log.warning("contacts sent without what CRM refuses", contacts=len(reduced))
        second = await _write_once(crm, [*reduced.values()], [ids[at] for at in reduced])
        for (position, row), result in zip(reduced.items(), second, strict=True):
            whole[position] = without_optional(whole[position], results[position]) or row
            rows[position], results[position] = row, result
    return [
        WrittenContact(
            contact, whole[at], rows[at], ids[at] is not None, result, _left_out(contact, row)
        )
        for at, (contact, row, result) in enumerate(zip(batch, whole, results, strict=True))
    ]


async def completed(crm: ZohoCrm, written: WrittenContact) -> WrittenContact:
    """Write the whole contact, where part of its fields came into another one than CRM had before.

    Staff had deleted ours, and it was made anew, or merged it into the one that was matched. CRM
    is sent only what is new to the contact that it had.
    """
    result = written.result
    if written.sent == written.whole or result.id in (None, written.contact.zoho_id):
        return written
    completing = await crm.update_contact(result.id, written.whole)
    if not completing.ok:
        return replace(written, result=completing)
    return replace(written, sent=written.whole)


def _whole(contact: WantedContact, *, is_new: bool) -> ContactToSend:
    row = whole_row(contact)
    return replace(row, tags=tags_of(contact.tier)) if is_new else row


def _left_out(contact: WantedContact, whole: ContactToSend) -> tuple[str, ...]:
    sent = {name: getattr(whole, name) for name in _OPTIONAL.values()}
    return tuple(name for name, value in sent.items() if contact.fields.get(name) and not value)


def without_optional(contact: ContactToSend, result: RowResult) -> ContactToSend | None:
    """Return the contact without the fields CRM refused, if all of them are optional."""
    if result.ok or not result.fields or not {_TAGS, *_OPTIONAL} >= set(result.fields):
        return None
    dropped: dict[str, Any] = {_OPTIONAL[field]: None for field in result.fields if field != _TAGS}
    smaller = replace(contact, **dropped, tags=() if _TAGS in result.fields else contact.tags)
    return None if smaller == contact else smaller


def _id_to_write(
    crm: ZohoCrm, contact: WantedContact, without_email: Collection[str]
) -> str | None:
    """Return its id, where an upsert could match, or make, another contact than this user's.

    By email alone, a changed email would make a second contact.
    """
    upsert_is_safe = (
        crm.finds_by_user_id and not contact.go_by_id and contact.user_id not in without_email
    )
    return None if upsert_is_safe else contact.zoho_id


async def _write_once(
    crm: ZohoCrm, contacts: Sequence[ContactToSend], ids: Sequence[str | None]
) -> list[RowResult]:
    to_upsert = [contact for contact, zoho_id in zip(contacts, ids, strict=True) if zoho_id is None]
    upserted = iter(await crm.upsert_contacts(to_upsert) if to_upsert else [])
    return [
        next(upserted) if zoho_id is None else await crm.update_contact(zoho_id, contact)
        for contact, zoho_id in zip(contacts, ids, strict=True)
    ]
