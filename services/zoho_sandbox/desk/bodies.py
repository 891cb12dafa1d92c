"""Check request bodies of Zoho Desk: lengths, patterns, and no unknown key.

Sources: Zoho's OpenAPI for Desk (`Ticket.json`, `Contact.json`, `TicketComment.json`). The e-mail
rules are those of June 2021: no doubled dots, no dot before `@`, no `_` in the domain.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.zoho_sandbox.desk.errors import DeskError, invalid_data, unprocessable

DeskBody = dict[str, Any]

_EMAIL = re.compile(
    r"[a-zA-Z0-9_][a-zA-Z0-9_+\-.'&~]*@(?=.{4,256}$)(?:[a-zA-Z0-9](?:-*[a-zA-Z0-9])*\.)+[a-zA-Z]{2,22}"
)
_ID = re.compile(r"[0-9]+")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,3})?Z")


@dataclass(frozen=True)
class TextRule:
    """A string of at most `length` characters, optionally of a kind or from a list."""

    length: int = 100
    kind: str = ""
    values: tuple[str, ...] = ()

    def accepts(self, value: Any) -> bool:
        if self.kind == "id":
            return _ID.fullmatch(str(value)) is not None
        if self.kind == "object":
            return isinstance(value, dict)
        if self.kind == "boolean":
            return isinstance(value, bool)
        if self.kind == "ids":
            return isinstance(value, list) and all(_ID.fullmatch(str(item)) for item in value)
        if self.kind == "list":
            return isinstance(value, list)
        if not isinstance(value, str) or len(value) > self.length:
            return False
        if self.kind == "email":
            return is_email(value)
        if self.kind == "time":
            return _TIME.fullmatch(value) is not None
        return not self.values or value in self.values


ID, OBJECT, BOOLEAN, IDS = (TextRule(kind=kind) for kind in ("id", "object", "boolean", "ids"))
PRIORITIES = ("Low", "Medium", "High")
STATUS_TYPES = {"Open": "Open", "On Hold": "On Hold", "Escalated": "Open", "Closed": "Closed"}

TICKET: dict[str, TextRule] = {
    "subject": TextRule(1000),
    "departmentId": ID,
    "contactId": ID,
    "contact": OBJECT,
    "description": TextRule(65535),
    "email": TextRule(150, "email"),
    "phone": TextRule(120),
    "priority": TextRule(values=PRIORITIES),
    "status": TextRule(values=tuple(STATUS_TYPES)),
    "channel": TextRule(100),
    "language": TextRule(100),
    "classification": TextRule(100),
    "category": TextRule(100),
    "subCategory": TextRule(100),
    "assigneeId": ID,
    "teamId": ID,
    "productId": ID,
    "dueDate": TextRule(100, "time"),
    "entitySkills": IDS,
    "cf": OBJECT,
    "customFields": OBJECT,
}
TICKET_CHANGE = {key: rule for key, rule in TICKET.items() if key != "contact"} | {
    "resolution": TextRule(65535)
}
INLINE_CONTACT = {"lastName": TextRule(200), "email": TextRule(255, "email")}
CONTACT: dict[str, TextRule] = {
    "lastName": TextRule(200),
    "firstName": TextRule(40),
    "email": TextRule(255, "email"),
    "secondaryEmail": TextRule(255, "email"),
    "phone": TextRule(50),
    "mobile": TextRule(50),
    "description": TextRule(65535),
    "title": TextRule(100),
    "type": TextRule(100),
    "street": TextRule(250),
    "city": TextRule(30),
    "state": TextRule(30),
    "country": TextRule(30),
    "zip": TextRule(30),
    "twitter": TextRule(100),
    "facebook": TextRule(100),
    "accountId": ID,
    "ownerId": ID,
    "cf": OBJECT,
    "customFields": OBJECT,
}
COMMENT: dict[str, TextRule] = {
    "content": TextRule(32000),
    "isPublic": BOOLEAN,
    "contentType": TextRule(values=("plainText", "html")),
    "attachmentIds": IDS,
}


def check(
    body: Any, rules: Mapping[str, TextRule], *, required: tuple[str, ...] = (), at: str = ""
) -> DeskBody:
    """Return the body if it keeps the rules. Raises: DeskError: 422, or 400 for an empty body."""
    if not isinstance(body, dict) or not body:
        raise DeskError(400, "EMPTY_PAYLOAD", "The request body is empty.")
    for key in body:
        if key not in rules:
            raise unprocessable(f"Extra parameter '{key}' is found in the request body.")
    missing = [(at + key, "missing") for key in required if body.get(key) in (None, "")]
    bad = [
        (at + key, "invalid")
        for key, value in body.items()
        if value is not None and not rules[key].accepts(value)
    ]
    if missing or bad:
        raise invalid_data(*missing, *bad)
    return body


def check_custom_fields(cf: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Check custom fields by their API name. Raises: DeskError: one is unknown or too long."""
    bad = [(f"cf/{name}", "invalid") for name in cf if name not in known]
    bad += [
        (f"cf/{name}", "invalid")
        for name, value in cf.items()
        if value is not None and (not isinstance(value, str) or len(value) > 255)
    ]
    if bad:
        raise invalid_data(*bad)


def is_email(value: str) -> bool:
    """Return whether Desk accepts the address."""
    local = value.partition("@")[0]
    if ".." in value or local.endswith("."):
        return False
    return _EMAIL.fullmatch(value) is not None
