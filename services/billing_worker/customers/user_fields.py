"""A person as commands tell of one, and the names Billing is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast, get_args

from services.billing_worker.repositories.users import User, UserField

_FIELDS: Final = frozenset(get_args(UserField))
_NAMES: Final = ("full_name", "first_name", "last_name")


def person_fields(given: Mapping[str, Any]) -> dict[UserField, str]:
    """The fields that a command gives, empty where it empties one."""
    return {
        cast("UserField", field): value or "" for field, value in given.items() if field in _FIELDS
    }


def display_name(fields: Mapping[str, str]) -> str:
    """What Billing shows on invoices: the full name, else first and last, else the email's start.

    Billing demands one, and it need not be unique.
    """
    parts = " ".join(fields[name] for name in _NAMES[1:] if fields.get(name))
    return fields.get("full_name") or parts or fields["email"].partition("@")[0]


def merged(user: User, changes: Mapping[UserField, str], *, arrived: int) -> dict[UserField, str]:
    """Of `changes`, those that nothing newer has changed."""
    return {
        field: value for field, value in changes.items() if not user.knows_newer(field, arrived)
    }
