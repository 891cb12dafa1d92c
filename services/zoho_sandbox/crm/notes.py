"""Store notes on contacts. The same note posted twice is two notes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from services.zoho_sandbox.crm.dialect import ResultRow
from services.zoho_sandbox.crm.fields import invalid, invalid_id
from services.zoho_sandbox.server.tables import Record, Table

MAX_TITLE_CHARS, MAX_CONTENT_CHARS = 120, 32000


class Notes:
    """The table of notes. `parent_exists` checks a contact's id."""

    def __init__(
        self,
        table: Table,
        *,
        time: Callable[[], str],
        user: Record,
        parent_exists: Callable[[str], bool],
    ) -> None:
        self.table = table
        self._time = time
        self._user = {key: user[key] for key in ("id", "name", "email")}
        self._parent_exists = parent_exists

    def insert(self, rows: list[Record], parent_id: str | None) -> list[ResultRow]:
        """Add notes, one result row for each. `parent_id` of the path wins over the row's own."""
        return [self._insert(row, parent_id, index) for index, row in enumerate(rows)]

    def update(self, rows: list[Record]) -> list[ResultRow]:
        """Change notes, one result row for each. Each row names its note by `id`."""
        return [self._update(row, index) for index, row in enumerate(rows)]

    def delete(self, note_id: str) -> ResultRow:
        """Delete a note. Returns its result row, which is an error for an unknown id."""
        note = self.get(note_id)
        if note is None:
            return invalid_id(0)
        self.table.remove(note_id)
        return _success({"id": note_id}, "record deleted")

    def get(self, note_id: str) -> Record | None:
        """Return the note, or None."""
        return self.table.get(note_id)

    def of(self, parent_id: str) -> list[Record]:
        """Return the notes of one contact, oldest first, as Zoho's page says of its default."""
        return [row for row in self.table if row["Parent_Id"]["id"] == parent_id]

    def _insert(self, row: Record, parent_id: str | None, index: int) -> ResultRow:
        parent = parent_id or _parent(row.get("Parent_Id"))
        if not row.get("Note_Content"):
            return _missing("Note_Content", index)
        if parent is None:
            return _missing("Parent_Id", index)
        error = self._too_long(row, index)
        if error or not self._parent_exists(parent):
            return error or invalid("Parent_Id", f"$.data[{index}].Parent_Id")
        now = self._time()
        note: Record = {
            "Note_Title": row.get("Note_Title"),
            "Note_Content": row["Note_Content"],
            "Parent_Id": {"id": parent, "module": {"api_name": "Contacts"}},
            "Owner": self._user,
            "Created_By": self._user,
            "Modified_By": self._user,
            "Created_Time": now,
            "Modified_Time": now,
        }
        self.table.add(note)
        return _success(_details(note), "record added")

    def _update(self, row: Record, index: int) -> ResultRow:
        note = self.get(str(row.get("id", "")))
        if note is None:
            return invalid_id(index)
        if error := self._too_long(row, index):
            return error
        note.update({key: row[key] for key in ("Note_Title", "Note_Content") if key in row})
        note["Modified_Time"] = self._time()
        self.table.save(note)
        return _success(_details(note), "record updated")

    def _too_long(self, row: Record, index: int) -> ResultRow | None:
        limits = {"Note_Title": MAX_TITLE_CHARS, "Note_Content": MAX_CONTENT_CHARS}
        for name, limit in limits.items():
            if len(str(row.get(name) or "")) > limit:
                return invalid(name, f"$.data[{index}].{name}", maximum_length=limit)
        return None


def _parent(value: Any) -> str | None:
    parent_id = value.get("id") if isinstance(value, dict) else value
    return str(parent_id) if parent_id else None


def _missing(api_name: str, index: int) -> ResultRow:
    return {
        "code": "MANDATORY_NOT_FOUND",
        "details": {"api_name": api_name, "json_path": f"$.data[{index}].{api_name}"},
        "message": "required field not found",
        "status": "error",
    }


def _details(note: Record) -> Record:
    keys = ("id", "Created_Time", "Modified_Time", "Created_By", "Modified_By")
    return {key: note[key] for key in keys}


def _success(details: Record, message: str) -> ResultRow:
    return {"code": "SUCCESS", "details": details, "message": message, "status": "success"}
