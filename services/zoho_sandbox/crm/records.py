"""Insert, update, upsert, delete and merge contacts, with one result row for each row.

Result rows are positional, because error rows have no id. Upsert checks for duplicates in the given
order. Insert checks only unique fields, so the same person inserted twice is two contacts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from services.zoho_sandbox.crm.dialect import ResultRow
from services.zoho_sandbox.crm.fields import FieldRule, invalid_id, row_errors
from services.zoho_sandbox.crm.tags import Tags
from services.zoho_sandbox.server.behaviour import Behaviour
from services.zoho_sandbox.server.tables import Record, Table

# Called with the operation, the contact, and the names of the changed fields.
ContactListener = Callable[[str, Record, list[str]], None]
API_USER = "integration"
STAFF_USER = "staff"


class ContactRecords:
    """The module `Contacts`: the tables of contacts and of the recycle bin.

    `users` maps the actors `integration` and `staff` to Zoho's `{id, name, email}`.
    """

    def __init__(
        self,
        table: Table,
        deleted: Table,
        fields: dict[str, FieldRule],
        tags: Tags,
        *,
        time: Callable[[], str],
        users: dict[str, Record],
        on_change: ContactListener,
        behaviour: Callable[[], Behaviour],
    ) -> None:
        self.table = table
        self.deleted = deleted
        self.fields = fields
        self._tags = tags
        self._time = time
        self._users = users
        self._on_change = on_change
        self._behaviour = behaviour
        # Those of the call being served: `trigger` of its body, and without it all of them.
        self.automations_run = True

    def get(self, zoho_id: str) -> Record | None:
        """Return the contact in its present state. Reads by id never lag."""
        return self.table.get(zoho_id)

    def insert(self, rows: list[Record]) -> list[ResultRow]:
        """Add contacts. Returns one result row for each row, in the same order."""
        return [self._insert(row, index) for index, row in enumerate(rows)]

    def update(self, rows: list[Record]) -> list[ResultRow]:
        """Change contacts. Each row names its contact by `id`."""
        return [self._update_by_id(row, index) for index, row in enumerate(rows)]

    def upsert(self, rows: list[Record], check_fields: list[str]) -> list[ResultRow]:
        """Update the contact matched by the first of `check_fields` that matches, or insert."""
        return [self._upsert(row, index, check_fields) for index, row in enumerate(rows)]

    def delete(self, zoho_id: str, *, actor: str = API_USER) -> bool:
        """Move a contact to the recycle bin. Returns False when there is no such contact."""
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
        self._on_change("delete", row, [])
        return True

    def merge(self, master_id: str, child_id: str, *, actor: str) -> bool:
        """Merge the child into the master. The child's id is gone, and it fills blank fields."""
        master, child = self.get(master_id), self.get(child_id)
        if master is None or child is None or master is child:
            return False
        blanks = [name for name in self.fields if not master.get(name) and child.get(name)]
        merged = {name: child[name] for name in blanks}
        self.delete(child_id, actor=actor)
        self.edit(master, merged, actor=actor)
        return True

    def edit(self, row: Record, changes: Record, *, actor: str) -> list[str]:
        """Write `changes` into the contact. Returns the names of the fields whose value changed."""
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
        self._on_change("edit", row, affected)
        return affected

    def duplicate_of(self, row: Record, *, besides: Record | None) -> ResultRow | None:
        """Return a DUPLICATE_DATA row when a unique field of `row` belongs to another contact."""
        for field in self.fields.values():
            value = row.get(field.api_name)
            if not (field.unique and value):
                continue
            for other in self.table.with_text(field.api_name, str(value)):
                if other is not besides:
                    return _duplicate(field.api_name, other["id"])
        return None

    def _insert(self, row: Record, index: int) -> ResultRow:
        error = self._first_error(row, index, creating=True) or self.duplicate_of(row, besides=None)
        if error:
            return error
        contact = self._create(row)
        return self._success(contact, "record added", action="insert")

    def _upsert(self, row: Record, index: int, check_fields: list[str]) -> ResultRow:
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

    def _update_by_id(self, row: Record, index: int) -> ResultRow:
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

    def _match(self, row: Record, check_fields: Iterable[str]) -> tuple[Record | None, str | None]:
        for field in check_fields:
            value = row.get(field)
            if value and (found := self.table.with_text(field, str(value))):
                return found[0], field
        return None, None

    def _first_error(self, row: Record, index: int, *, creating: bool) -> ResultRow | None:
        if refused := self._refused(row):
            return refused
        lowered = self._behaviour().maximum_lengths
        errors = list(row_errors(row, self.fields, index, creating=creating, lowered=lowered))
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

    def _refused(self, row: Record) -> ResultRow | None:
        """Return the answer that a driver has ordered for a row like this."""
        text = repr(row)
        for part, answer in self._behaviour().refused_rows.items():
            if part in text:
                return {"details": {}, "message": "refused", "status": "error", **answer}
        return None

    def _create(self, row: Record) -> Record:
        contact: Record = dict.fromkeys(self.fields)
        contact.update({name: row[name] for name in self.fields if name in row})
        contact["Tag"] = self._tags.named(row.get("Tag") or [])
        contact["Owner"] = contact["Created_By"] = self._user(API_USER)
        contact["Created_Time"] = self._time()
        self._stamp(contact, API_USER)
        self.table.add(contact)
        self._on_change("create", contact, [])
        return contact

    def _stamp(self, row: Record, actor: str) -> None:
        names = [row.get("First_Name"), row.get("Last_Name")]
        row["Full_Name"] = " ".join(name for name in names if name)
        row["Modified_By"] = self._user(actor)
        row["Modified_Time"] = self._time()

    def _success(self, row: Record, message: str, **more: Any) -> ResultRow:
        keys = ("id", "Created_Time", "Modified_Time", "Created_By", "Modified_By")
        return {
            "code": "SUCCESS",
            **more,
            "details": {**{key: row.get(key) for key in keys}, "$approval_state": "approved"},
            "message": message,
            "status": "success",
        }

    def _user(self, actor: str) -> Record:
        return {key: self._users[actor][key] for key in ("id", "name", "email")}


def _duplicate(api_name: str, other_id: str) -> ResultRow:
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
