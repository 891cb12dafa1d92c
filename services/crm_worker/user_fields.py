"""Map a person's fields: from a command to what is kept, and from that to a row of CRM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from services.crm_worker.repositories.contact_fields import ContactField
from services.crm_worker.repositories.contacts import WantedContact
from shared.contracts.phones import normalize_phone
from shared.zoho.products.crm.models import ContactToSend, fits_phone


def contact_fields(sent: Mapping[str, Any]) -> dict[ContactField, str]:
    """Return the fields that a command holds, empty where it empties one.

    A full name stands for its parts where these are not given: the last word is the last name.
    """
    names = {field: sent[field] for field in ("first_name", "last_name") if field in sent}
    if "full_name" in sent and not names:
        first, _, last = (sent["full_name"] or "").strip().rpartition(" ")
        names = {"first_name": first, "last_name": last}
    fields: dict[ContactField, str] = {}
    for field in ("email", "phone"):
        if field in sent:
            fields[field] = sent[field] or ""
    for name in ("first_name", "last_name"):
        if name in names:
            fields[name] = (names[name] or "").strip()
    return fields


def whole_row(contact: WantedContact) -> ContactToSend:
    """Return all fields. CRM requires a last name: without one, the first name is used."""
    fields = contact.fields
    first, last = fields.get("first_name"), fields.get("last_name")
    if first and not last:
        first, last = "", first
    return ContactToSend(
        user_id=contact.user_id,
        email=contact.email,
        first_name=first,
        last_name=last,
        phone=_phone(fields.get("phone")),
        tier=contact.tier,
    )


def to_send(contact: WantedContact, row: ContactToSend) -> ContactToSend:
    """Return the row without email and phone where CRM has them already.

    Staff may have changed them a moment ago. What is sent once more would undo that unseen.
    """
    if contact.zoho_id is None:
        return row
    has_phone = contact.in_crm.get("phone") in (row.phone, contact.fields.get("phone"))
    return replace(
        row,
        sends_email=contact.in_crm.get("email") != row.email,
        phone=None if has_phone else row.phone,
    )


def outdated_fields(contact: WantedContact) -> list[ContactField]:
    """Return the fields in which CRM has another value than is about to be sent."""
    sent = sent_values(to_send(contact, whole_row(contact)))
    return [field for field in sent if field in contact.in_crm]


def unwritten_values(contact: WantedContact) -> dict[ContactField, str]:
    """Return what CRM still has in the outdated fields, where it has refused to write them."""
    return {field: contact.in_crm[field] for field in outdated_fields(contact)}


def sent_values(row: ContactToSend) -> dict[ContactField, str]:
    """Return email and phone, where the row holds them."""
    values: dict[ContactField, str] = {}
    if row.sends_email:
        values["email"] = row.email
    if row.phone is not None:
        values["phone"] = row.phone
    return values


def _phone(text: str | None) -> str | None:
    """Return the number as CRM accepts it. None leaves CRM's as it is, an empty text erases it."""
    if not text:
        return text
    number = normalize_phone(text)
    return number if number and fits_phone(number) else None
