"""Store the tags of Contacts, created on first use, and add them to or remove them from records.

`Tag` inside a record is a set that replaces the former one. Adding and removing are calls of their
own.
"""

from __future__ import annotations

from services.zoho_sandbox.crm.dialect import ResultRow
from services.zoho_sandbox.crm.tag_rules import (
    MAX_PER_MODULE,
    MAX_PER_RECORD,
    limit_exceeded,
    name_error,
)
from services.zoho_sandbox.server.tables import Record, Table


class Tags:
    """The table of one module's tags."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def named(self, sent: list[Record]) -> list[Record]:
        """Return the tags of `[{name}|{id}]`, each once. An unknown name creates a tag."""
        tags: list[Record] = []
        for item in sent:
            tag = self._find(item) or self.create(str(item.get("name", "")))
            if tag["id"] not in [other["id"] for other in tags]:
                tags.append({"name": tag["name"], "id": tag["id"], "color_code": tag["color_code"]})
        return tags

    def create(self, name: str) -> Record:
        """Return the tag of that name, created if it is new."""
        tag = self._find({"name": name})
        if tag is None:
            tag = self.table.add({"name": name, "color_code": None})
        return tag

    def room_error(self, sent: list[Record]) -> ResultRow | None:
        """Return LIMIT_EXCEEDED when the new names among `sent` do not fit into the module."""
        new = {str(item.get("name")).casefold() for item in sent if self._find(item) is None}
        if len(self.table) + len(new) > MAX_PER_MODULE:
            return limit_exceeded("tags", MAX_PER_MODULE)
        return None

    def add(
        self, record: Record, sent: list[Record], *, over_write: bool
    ) -> list[Record] | ResultRow:
        """Return the record's tags with the new ones, or an error row. A record has ten at most."""
        for position, item in enumerate(sent):
            error = name_error(item.get("name"), f"$.tags[{position}].name")
            if error and "id" not in item:
                return error
        if error := self.room_error(sent):
            return error
        present = [] if over_write else record.get("Tag") or []
        tags = self.named([*present, *sent])
        return limit_exceeded("Tag", MAX_PER_RECORD) if len(tags) > MAX_PER_RECORD else tags

    def without(self, record: Record, sent: list[Record]) -> list[Record]:
        """Return the record's tags without the named ones. A tag that it lacks is no error."""
        removed = [tag["id"] for tag in map(self._find, sent) if tag]
        return [tag for tag in record.get("Tag") or [] if tag["id"] not in removed]

    def _find(self, item: Record) -> Record | None:
        if item.get("id"):  # the id wins over the name
            return self.table.get(item["id"])
        name = str(item.get("name", "")).casefold()
        return next((tag for tag in self.table if tag["name"].casefold() == name), None)
