"""Decide which values in a contact of CRM's are staff's. Rules only, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from services.crm_worker.repositories.contact_fields import ContactField
from services.crm_worker.repositories.crm_values import StoredContact
from shared.contracts.phones import normalize_phone
from shared.zoho.products.crm.models import CrmContact

WATCHED_FIELDS: Final = frozenset({"Email", "Phone"})
"""CRM's names of the fields whose changes by staff are taken over."""


@dataclass(frozen=True)
class StaffChange:
    """A value that staff wrote, or "" where they removed it."""

    field: ContactField
    value: str


def is_unclear(stored: StoredContact) -> bool:
    """Whether a value of ours is on its way: what CRM has may be ours, and not known as such."""
    return stored.is_pending and any(field not in stored.in_crm for field in stored.wanted)


def staff_changes(stored: StoredContact, seen: CrmContact) -> list[StaffChange]:
    """Return what staff changed since CRM's values were last sent or read.

    The echo of our own writes is none. Where the application has changed the same field meanwhile,
    its value is the newer one and about to be sent.
    """
    values: dict[ContactField, str] = {"email": seen.email or "", "phone": seen.phone or ""}
    return [
        StaffChange(field, value)
        for field, value in values.items()
        if _is_staffs(stored, field, value)
    ]


def _is_staffs(stored: StoredContact, field: ContactField, value: str) -> bool:
    wanted = stored.wanted.get(field, "")
    known = stored.in_crm.get(field)
    if _same(field, value, wanted):
        return False
    if known is None:
        return value != ""
    if _same(field, value, known):
        return False
    return not stored.is_pending or _same(field, wanted, known)


def _same(field: ContactField, one: str, other: str) -> bool:
    if field == "phone":
        return _plain_number(one) == _plain_number(other)
    return one.casefold() == other.casefold()


def _plain_number(text: str) -> str:
    """Return the number without what people write between its digits."""
    number = normalize_phone(text) or text
    return "".join(char for char in number if char not in " .-()")
