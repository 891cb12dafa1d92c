"""Take from a command the fields of a person that are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.crm_worker.repositories.contacts import ContactField, WantedContact
from shared.zoho.products.crm.models import ContactToSend


def contact_fields(given: Mapping[str, Any]) -> dict[ContactField, str]:
    """The fields that a command gives, empty where it empties one.

    A full name stands for its parts where these are not given: the last word is the last name.
    """
    names = {field: given[field] for field in ("first_name", "last_name") if field in given}
    if "full_name" in given and not names:
        first, _, last = (given["full_name"] or "").strip().rpartition(" ")
        names = {"first_name": first, "last_name": last}
    fields: dict[ContactField, str] = {}
    for field in ("email", "phone"):
        if field in given:
            fields[field] = given[field] or ""
    for name in ("first_name", "last_name"):
        if name in names:
            fields[name] = (names[name] or "").strip()
    return fields


def to_send(contact: WantedContact) -> ContactToSend:
    """CRM demands a last name: for want of one, the first name is it."""
    fields = contact.fields
    first, last = fields.get("first_name"), fields.get("last_name")
    if first and not last:
        first, last = "", first
    return ContactToSend(
        user_id=contact.user_id,
        email=contact.email,
        first_name=first,
        last_name=last,
        phone=fields.get("phone"),
        tier=contact.tier,
    )
