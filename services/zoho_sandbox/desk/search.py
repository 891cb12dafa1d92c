"""Search tickets and contacts: from row 0, at most 100 rows, on an index that lags.

Trashed and spam tickets are not found. Text parameters match parts of words and accept `*`. Ranges
are `from,to`. An unknown parameter is refused. Source: Zoho's OpenAPI for Desk, `Search.json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from services.zoho_sandbox.desk.errors import unprocessable
from services.zoho_sandbox.server.tables import Record

MAX_LIMIT, DEFAULT_LIMIT, MAX_FROM = 100, 10, 4999
_TICKET_TEXT = ("subject", "description", "ticketNumber", "category")
_TICKET_EXACT = (
    "id", "departmentId", "contactId", "assigneeId", "productId", "accountId", "status",
    "priority", "channel",
)  # fmt: skip
_CONTACT_TEXT = ("firstName", "lastName", "fullName", "email", "phone", "mobile")
_RANGES = {
    "createdTimeRange": "createdTime",
    "modifiedTimeRange": "modifiedTime",
    "dueDateRange": "dueDate",
    "customerResponseTimeRange": "customerResponseTime",
}
_PAGING = ("from", "limit", "sortBy", "orgId", "_all", "include")
TICKET_PARAMETERS = {
    *_TICKET_TEXT, *_TICKET_EXACT, *_RANGES, *_PAGING, "tag", "contactName", "accountName",
    "productName", "email",
}  # fmt: skip
CONTACT_PARAMETERS = {*_CONTACT_TEXT, *_RANGES, *_PAGING, "id", "accountName"}


def search_tickets(
    rows: list[Record], query: Mapping[str, str], tags_of: Any
) -> tuple[list[Record], int]:
    """Return the page, and the number of matches. `tags_of` maps a ticket's id to tag names."""
    rows = [row for row in rows if not row["isTrashed"] and not row["isSpam"]]
    for name, value in query.items():
        if name == "tag":
            rows = [row for row in rows if value.casefold() in tags_of(row["id"])]
        elif name.startswith("customField"):
            rows = [row for row in rows if _custom_field(row, value)]
        else:
            rows = _narrowed(rows, name, value, _TICKET_TEXT, _TICKET_EXACT)
    return _page(rows, query)


def search_contacts(rows: list[Record], query: Mapping[str, str]) -> tuple[list[Record], int]:
    """Return the page, and the number of matches."""
    rows = [
        {**row, "fullName": " ".join(filter(None, (row["firstName"], row["lastName"])))}
        for row in rows
        if not row["isTrashed"]
    ]
    for name, value in query.items():
        rows = _narrowed(rows, name, value, _CONTACT_TEXT, ("id",))
    page, count = _page(rows, query)
    return [{key: row[key] for key in row if key != "fullName"} for row in page], count


def check_parameters(query: Mapping[str, str], known: set[str]) -> None:
    """Check the parameters' names. Raises: DeskError: 422, Zoho does not know one."""
    for name in query:
        if name not in known and not name.startswith("customField"):
            raise unprocessable(f"Extra query parameter '{name}' is present in the input.")


def bounded(query: Mapping[str, str], *, first: int, limit: int, most: int) -> tuple[int, int]:
    """Return (`from`, `limit`). Raises: DeskError: 422, one is out of range."""
    start, count = query.get("from", str(first)), query.get("limit", str(limit))
    if not start.isdigit() or not first <= int(start) <= MAX_FROM:
        raise unprocessable("The value passed for the 'from' query parameter is invalid.")
    if not count.isdigit() or not 1 <= int(count) <= most:
        raise unprocessable("The value passed for the 'limit' query parameter is invalid.")
    return int(start), int(count)


def moment(text: str) -> datetime:
    """Parse a time of a range. Raises: DeskError: 422, it is none."""
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise unprocessable("A time range is invalid.") from error


def _narrowed(
    rows: list[Record], name: str, value: str, texts: tuple[str, ...], exact: tuple[str, ...]
) -> list[Record]:
    if name in _RANGES:
        low, _, high = value.partition(",")
        start, end, field = moment(low), moment(high), _RANGES[name]
        return [row for row in rows if row.get(field) and start <= moment(row[field]) <= end]
    if name in exact:
        wanted = {part.strip().casefold() for part in value.split(",")}
        return [row for row in rows if str(row.get(name) or "").casefold() in wanted]
    if name in texts:
        return [row for row in rows if _has(row.get(name), value)]
    if name == "_all":
        return [row for row in rows if any(_has(row.get(field), value) for field in texts)]
    return rows


def _has(value: Any, wanted: str) -> bool:
    return wanted.strip("*").casefold() in str(value or "").casefold()


def _custom_field(row: Record, value: str) -> bool:
    """Return whether the row matches `customField1=cf_name:value`."""
    name, _, wanted = value.partition(":")
    return _has(row["cf"].get(name), wanted)


def _page(rows: list[Record], query: Mapping[str, str]) -> tuple[list[Record], int]:
    start, count = bounded(query, first=0, limit=DEFAULT_LIMIT, most=MAX_LIMIT)
    by = query.get("sortBy", "relevance")
    field = by.lstrip("-")
    if field not in (
        "relevance",
        "modifiedTime",
        "createdTime",
        "customerResponseTime",
        "lastName",
    ):
        raise unprocessable("The value passed for the 'sortBy' query parameter is invalid.")
    if field != "relevance":
        rows = sorted(rows, key=lambda row: str(row.get(field) or ""), reverse=by.startswith("-"))
    return rows[start : start + count], len(rows)
