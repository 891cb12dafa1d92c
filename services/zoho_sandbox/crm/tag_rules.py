"""Check tags: objects and not strings, short names, ten on a record, a hundred in a module.

Source: Zoho CRM, "add tags" and "create tags". No source shows tags accepted as strings.
"""

from __future__ import annotations

from typing import Any

from services.zoho_sandbox.crm.dialect import ResultRow

MAX_NAME_CHARS = 25
MAX_PER_RECORD = 10
MAX_PER_MODULE = 100


def tag_error(value: Any, path: str) -> ResultRow | None:
    """Return the error row for a `Tag` list, or None."""
    if value is None:
        return None
    if not isinstance(value, list):
        return _invalid(path, expected_data_type="jsonarray")
    for position, tag in enumerate(value):
        if not isinstance(tag, dict):
            return _invalid(f"{path}[{position}]", expected_data_type="jsonobject")
        error = name_error(tag.get("name"), f"{path}[{position}].name")
        if error and "id" not in tag:
            return error
    if len({str(tag.get("name", tag.get("id"))).casefold() for tag in value}) > MAX_PER_RECORD:
        return limit_exceeded("Tag", MAX_PER_RECORD)
    return None


def name_error(name: Any, path: str) -> ResultRow | None:
    """Return the error row for a name unless it has 1–25 characters, no `<`, `>`, `,`, no emoji."""
    if not isinstance(name, str) or not name.strip():
        return _invalid(path, expected_data_type="string")
    if len(name) > MAX_NAME_CHARS:
        return _invalid(path, maximum_length=MAX_NAME_CHARS)
    if set(name) & set("<>,") or any(ord(char) > 0xFFFF for char in name):
        return _invalid(path, expected_data_type="string")
    return None


def limit_exceeded(api_name: str, limit: int) -> ResultRow:
    """Return the error row for more tags than a record or a module can have."""
    return {
        "code": "LIMIT_EXCEEDED",
        "details": {"api_name": api_name, "limit": limit},
        "message": "tag limit exceeded",
        "status": "error",
    }


def _invalid(path: str, **details: Any) -> ResultRow:
    api_name = path.rsplit(".", 1)[-1].split("[", 1)[0]
    return {
        "code": "INVALID_DATA",
        "details": {**details, "api_name": api_name, "json_path": path},
        "message": "invalid data",
        "status": "error",
    }
