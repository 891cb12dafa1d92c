"""Check a contact's fields, and build the error rows of Zoho's answers.

Lengths, phone and e-mail pattern are those of Zoho CRM's "insert records" and field pages.
Unknown field names are ignored silently, as Zoho does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from services.zoho_sandbox.crm.dialect import ResultRow
from services.zoho_sandbox.crm.tag_rules import tag_error
from services.zoho_sandbox.server.tables import Record

# Groups of letters and digits split by one space, dot or dash. Parentheses may enclose a group.
_PHONE = re.compile(
    r"\+?(?:[A-Za-z0-9]|\([A-Za-z0-9]+\))(?:[ .\-]?(?:[A-Za-z0-9]|\([A-Za-z0-9]+\)))*"
)
_EMAIL = re.compile(
    r"[A-Za-z0-9_][A-Za-z0-9_+\-.'&~]*@(?=.{4,256}$)(?:[A-Za-z0-9](?:[-_]*[A-Za-z0-9])*\.)+[A-Za-z]{2,22}"
)


@dataclass(frozen=True)
class FieldRule:
    """One field of the module, as `GET /settings/fields` describes it."""

    api_name: str
    data_type: str
    length: int
    mandatory: bool = False
    unique: bool = False
    custom: bool = False

    def error(self, value: Any, path: str, *, length: int) -> ResultRow | None:
        """Return the error row for `value`, or None. `null` is always allowed, to blank a field."""
        if value is None:
            return None
        if not isinstance(value, str):
            return invalid(self.api_name, path, expected_data_type=_json_type(self.data_type))
        if len(value) > length:
            return invalid(self.api_name, path, maximum_length=length)
        pattern = {"phone": _PHONE, "email": _EMAIL}.get(self.data_type)
        if pattern and value and not pattern.fullmatch(value):
            return invalid(self.api_name, path, expected_data_type=self.data_type)
        return None


def contact_fields(user_field: str, tier_field: str) -> dict[str, FieldRule]:
    """Return the fields of Contacts: the standard ones, the unique user field, the tier field."""
    fields = [
        FieldRule("First_Name", "text", 40),
        FieldRule("Last_Name", "text", 80, mandatory=True),
        FieldRule("Email", "email", 100),
        FieldRule("Secondary_Email", "email", 100),
        FieldRule("Phone", "phone", 30),
        FieldRule("Mobile", "phone", 30),
        FieldRule("Title", "text", 100),
        FieldRule("Department", "text", 50),
        FieldRule("Lead_Source", "picklist", 120),
        FieldRule("Mailing_Street", "text", 250),
        FieldRule("Mailing_City", "text", 100),
        FieldRule("Mailing_Country", "text", 100),
        FieldRule("Description", "textarea", 32000),
        FieldRule(user_field, "text", 255, unique=True, custom=True),
        FieldRule(tier_field, "text", 255, custom=True),
    ]
    return {field.api_name: field for field in fields}


def row_errors(
    row: Record,
    fields: dict[str, FieldRule],
    index: int,
    *,
    creating: bool,
    lowered: Mapping[str, int],
) -> Iterator[ResultRow]:
    """Yield every error of one row in the order of Zoho's checks: mandatory fields, then values.

    `lowered` has the lengths that an administrator has lowered, by API name.
    """
    for field in fields.values():
        blank = row.get(field.api_name) in (None, "")
        if field.mandatory and blank and (creating or field.api_name in row):
            yield {
                "code": "MANDATORY_NOT_FOUND",
                "details": {
                    "api_name": field.api_name,
                    "json_path": f"$.data[{index}].{field.api_name}",
                },
                "message": "required field not found",
                "status": "error",
            }
    for name, value in row.items():
        path = f"$.data[{index}].{name}"
        error = tag_error(value, path) if name == "Tag" else None
        if rule := fields.get(name):
            error = rule.error(value, path, length=lowered.get(name, rule.length))
        if error:
            yield error


def invalid(api_name: str, json_path: str, **details: Any) -> ResultRow:
    """Return an INVALID_DATA row: wrong type, too long, or a wrong pattern."""
    return {
        "code": "INVALID_DATA",
        "details": {**details, "api_name": api_name, "json_path": json_path},
        "message": "invalid data",
        "status": "error",
    }


def invalid_id(index: int) -> ResultRow:
    """Return the row for an id that is unknown, deleted, or merged into another record."""
    return {
        "code": "INVALID_DATA",
        "details": {"api_name": "id", "json_path": f"$.data[{index}].id"},
        "message": "the id given seems to be invalid",
        "status": "error",
    }


def _json_type(data_type: str) -> str:
    return data_type if data_type in ("email", "phone") else "string"
