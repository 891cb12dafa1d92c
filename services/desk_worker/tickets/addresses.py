"""Decide which email addresses Desk accepts for a contact.

Narrower than ours: no doubled dots, no dot before `@`, no underscore in the domain, ASCII only.
Source: Zoho's OpenAPI for Desk (`Contact.json`), and its functional change of June 2021 on
validating email ids.
"""

from __future__ import annotations

import re

_ACCEPTED = re.compile(
    r"[a-zA-Z0-9_][a-zA-Z0-9_+\-.'&~]*@(?=.{4,256}$)(?:[a-zA-Z0-9](?:-*[a-zA-Z0-9])*\.)+[a-zA-Z]{2,22}"
)


def desk_accepts(email: str) -> bool:
    local = email.partition("@")[0]
    return ".." not in local and not local.endswith(".") and _ACCEPTED.fullmatch(email) is not None


def last_name_of(email: str) -> str:
    """Return a last name for a contact: Desk requires one, and an escalation has none."""
    return email.partition("@")[0][:200]
