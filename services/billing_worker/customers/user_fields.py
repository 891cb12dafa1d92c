"""Read a person's fields from commands, and derive the display name for Billing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast, get_args

from services.billing_worker.repositories.users import User, UserField
from shared.contracts.phones import normalize_phone

_FIELDS: Final = frozenset(get_args(UserField))
_NAMES: Final = ("full_name", "first_name", "last_name")


def user_fields_in(command: Mapping[str, Any]) -> dict[UserField, str]:
    """The user's fields in a command. A field that the command clears is an empty text.

    A full name and its parts always agree. A full name alone gives the parts: its last word is
    the last name. Parts alone replace the full name. A phone that is not certain is left out.
    """
    fields = {
        cast("UserField", field): value or ""
        for field, value in command.items()
        if field in _FIELDS
    }
    if phone := fields.get("phone"):
        number = normalize_phone(phone)
        if number is None:  # a customer without a phone is better than none
            del fields["phone"]
        else:
            fields["phone"] = number
    has_parts = "first_name" in fields or "last_name" in fields
    if has_parts:
        fields.setdefault("full_name", "")
    elif "full_name" in fields:
        first, _, last = fields["full_name"].strip().rpartition(" ")
        fields |= {"first_name": first.strip(), "last_name": last}
    return fields


def display_name(fields: Mapping[str, str]) -> str:
    """The full name, else first and last, else the part of the email before the `@`.

    Billing requires one and shows it on invoices.
    """
    parts = " ".join(fields[name] for name in _NAMES[1:] if fields.get(name))
    return fields.get("full_name") or parts or fields["email"].partition("@")[0]


def display_names(fields: Mapping[str, str], user_id: str) -> list[str]:
    """The names to try, in this order, where an organization forbids two customers of one name."""
    name = display_name(fields)
    return [name, f"{name} ({fields['email']})", f"{name} ({user_id})"]


def without_outdated(
    user: User, changes: Mapping[UserField, str], *, arrived: int
) -> dict[UserField, str]:
    """Drop those `changes` whose field a newer command has set."""
    return {
        field: value for field, value in changes.items() if not user.knows_newer(field, arrived)
    }
