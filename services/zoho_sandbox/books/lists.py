"""Filter Books' lists by dates and exact values, and find records by a unique custom field.

Unknown filters are ignored, and the whole list is answered. Source: "Pagination" and "Searching" of
https://www.zoho.com/books/api/v3/introduction/.
"""

from __future__ import annotations

from collections.abc import Sequence

from services.zoho_sandbox.finance.dialect import Rejected, custom_value, in_order, not_found
from services.zoho_sandbox.server.routes import ApiCall
from services.zoho_sandbox.server.tables import Record, Table


def listed(
    call: ApiCall, table: Table, exact: Sequence[str], *, dated: bool = True
) -> list[Record]:
    """Return the rows that pass the filters named in `exact` and by date, in the order asked for.

    `date_start` and `date_end` are inclusive. `date_before` and `date_after` are not.
    """
    rows = in_order(call, table.searched())
    for name in exact:
        if wanted := call.query(name):
            rows = [row for row in rows if str(row.get(name, "")).lower() == wanted.lower()]
    if not dated:
        return rows
    first, last = call.query("date_start"), call.query("date_end")
    before, after, on = call.query("date_before"), call.query("date_after"), call.query("date")
    return [
        row
        for row in rows
        if (not first or row["date"] >= first)
        and (not last or row["date"] <= last)
        and (not before or row["date"] < before)
        and (not after or row["date"] > after)
        and (not on or row["date"] == on)
    ]


def by_unique_field(call: ApiCall, table: Table) -> Record | None:
    """Return the record whose custom field has the value that the PUT's headers name, or None.

    Raises: Rejected: a header is missing, or there is no such record and `X-Upsert` is not true.
    """
    name = call.request.headers.get("X-Unique-Identifier-Key", "")
    value = call.request.headers.get("X-Unique-Identifier-Value", "")
    if not name.startswith("cf_") or not value:
        raise Rejected(400, 2, "Invalid value passed for X-Unique-Identifier-Key")
    record = next((row for row in table if str(custom_value(row, name)) == value), None)
    if record is None and call.request.headers.get("X-Upsert", "").lower() != "true":
        raise not_found("The record")
    return record
