"""The contacts of Zoho CRM: insert, update, upsert, delete, merge, with positional result rows.

A row's answer depends on nothing but its place: error rows carry no id. Upsert checks duplicates in
the given order; insert checks unique fields only: the same person inserted twice is two contacts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from services.zoho_sandbox.crm.fields import FieldRule, Row, invalid_id, row_errors
from services.zoho_sandbox.crm.tags import Tags
from services.zoho_sandbox.server.tables import Table

Changed = Callable[[str, Row, list[str]], None]  # operation, the contact, the fields that changed
API_USER = "integration"
STAFF_USER = "staff"


class ContactRecords:
    """The module `ContactRecords` over the sandbox's tables of contacts and of the recycle bin.

    `users` maps who acts (`integration`, `staff`) to Zoho's `{id, name, email}`.
    """

    def __init__(
        self,
        table: Table,
        deleted: Table,
        fields: dict[str, FieldRule],
        tags: Tags,
        *,
        time: Callable[[], str],
        users: dict[str, Row],
        changed: Changed,
    ) -> None:
        self.table = table
        self.deleted = deleted
        self.fields = fields
        self._tags = tags
        self._time = time
        self._users = users
        self._changed = changed

    def get(self, zoho_id: str) -> Row | None:
        """The contact as it is now; reads by id never lag."""
        return self.table.get(zoho_id)

    def insert(self, rows: list[Row]) -> list[Row]:
        """One result row for each given row, in the same order."""
        return [self._insert(row, index) for index, row in enumerate(rows)]

    def update(self, rows: list[Row]) -> list[Row]:
        """Each row names its contact by `id`."""
        return [self._update_by_id(row, index) for index, row in enumerate(rows)]

    def upsert(self, rows: list[Row], check_fields: list[str]) -> list[Row]:
        """Update the contact that matches the first of `check_fields` that matches, else insert."""
        return [self._upsert(row, index, check_fields) for index, row in enumerate(rows)]

    def delete(self, zoho_id: str, *, actor: str = API_USER) -> bool:
        """Into the recycle bin. False when there is no such contact."""
        row = self.get(zoho_id)
        if row is None:
            return False
        self.table.remove(zoho_id)
        self.deleted.add(
            {
                "id": zoho_id,
                "display_name": row.get("Full_Name"),
                "type": "recycle",
                "deleted_by": self._user(actor),
                "created_by": row.get("Created_By"),
                "deleted_time": self._time(),
            }
        )
        self._changed("delete", row, [])
        return True

    def merge(self, master_id: str, child_id: str, *, actor: str) -> bool:
        """Staff merge the child into the master: its id is gone, blanks are filled from it."""
        master, child = self.get(master_id), self.get(child_id)
        if master is None or child is None or master is child:
            return False
        blanks = [name for name in self.fields if not master.get(name) and child.get(name)]
        merged = {name: child[name] for name in blanks}
        self.delete(child_id, actor=actor)
        self.edit(master, merged, actor=actor)
        return True

    def edit(self, row: Row, changes: Row, *, actor: str) -> list[str]:
        """Write `changes` into the contact; returns the names of the fields whose value changed."""
        affected = [
            name for name in self.fields if name in changes and changes[name] != row.get(name)
        ]
        row.update({name: changes[name] for name in affected})
        if "Tag" in changes:
            tags = self._tags.named(changes["Tag"] or [])
            if tags != row.get("Tag"):
                row["Tag"], affected = tags, [*affected, "Tag"]
        self._stamp(row, actor)
        self.table.save(row)
        self._changed("edit", row, affected)
        return affected

    def duplicate_of(self, row: Row, *, besides: Row | None) -> Row | None:
        """The DUPLICATE_DATA row when a unique field of `row` belongs to another contact."""
        for field in self.fields.values():
            value = row.get(field.api_name)
            if not (field.unique and value):
                continue
            for other in self.table:
                if other is not besides and _same(other.get(field.api_name), value):
                    return _duplicate(field.api_name, other["id"])
        return None

    def _insert(self, row: Row, index: int) -> Row:
        error = self._first_error(row, index, creating=True) or self.duplicate_of(row, besides=None)
        if error:
            return error
        contact = self._create(row)
        return self._success(contact, "record added", action="insert")

    def _upsert(self, row: Row, index: int, check_fields: list[str]) -> Row:
        match, field = self._match(row, check_fields)
        if match is None:
            return {"duplicate_field": None, **self._insert(row, index)}
        error = self._first_error(row, index, creating=False) or self.duplicate_of(
            row, besides=match
        )
        if error:
            return error
        self.edit(match, row, actor=API_USER)
        return self._success(match, "record updated", action="update", duplicate_field=field)

    def _update_by_id(self, row: Row, index: int) -> Row:
        contact = self.get(str(row.get("id", "")))
        if contact is None:
            return invalid_id(index)
        error = self._first_error(row, index, creating=False) or self.duplicate_of(
            row, besides=contact
        )
        if error:
            return error
        self.edit(contact, row, actor=API_USER)
        return self._success(contact, "record updated")

    def _match(self, row: Row, check_fields: Iterable[str]) -> tuple[Row | None, str | None]:
        for field in check_fields:
            value = row.get(field)
            for contact in self.table if value else ():
                if _same(contact.get(field), value):
                    return contact, field
        return None, None

    def _first_error(self, row: Row, index: int, *, creating: bool) -> Row | None:
        errors = list(row_errors(row, self.fields, index, creating=creating))
        if len(errors) > 1:
            return {
                "code": "MULTIPLE_OR_MULTI_ERRORS",
                "details": {"errors": errors},
                "message": "multiple errors found",
                "status": "error",
            }
        if errors:
            return errors[0]
        return self._tags.room_error(row.get("Tag") or [])

    def _create(self, row: Row) -> Row:
        contact: Row = dict.fromkeys(self.fields)
        contact.update({name: row[name] for name in self.fields if name in row})
        contact["Tag"] = self._tags.named(row.get("Tag") or [])
        contact["Owner"] = contact["Created_By"] = self._user(API_USER)
        contact["Created_Time"] = self._time()
        self._stamp(contact, API_USER)
        self.table.add(contact)
        self._changed("create", contact, [])
        return contact

    def _stamp(self, row: Row, actor: str) -> None:
        names = [row.get("First_Name"), row.get("Last_Name")]
        row["Full_Name"] = " ".join(name for name in names if name)
        row["Modified_By"] = self._user(actor)
        row["Modified_Time"] = self._time()

    def _success(self, row: Row, message: str, **more: Any) -> Row:
        keys = ("id", "Created_Time", "Modified_Time", "Created_By", "Modified_By")
        return {
            "code": "SUCCESS",
            **more,
            "details": {**{key: row.get(key) for key in keys}, "$approval_state": "approved"},
            "message": message,
            "status": "success",
        }

    def _user(self, actor: str) -> Row:
        return {key: self._users[actor][key] for key in ("id", "name", "email")}


def _same(left: Any, right: Any) -> bool:
    return isinstance(left, str) and left.casefold() == str(right).casefold()


def _duplicate(api_name: str, other_id: str) -> Row:
    return {
        "code": "DUPLICATE_DATA",
        "details": {
            "api_name": api_name,
            "id": other_id,
            "duplicate_record": {"id": other_id, "module": {"api_name": "Contacts"}},
        },
        "message": "duplicate data",
        "status": "error",
    }
