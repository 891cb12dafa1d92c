"""Tags of the module Contacts: made on first use, added to and removed from records.

`Tag` inside a record is a set: it replaces what is there. Adding and removing are their own calls.
"""

from __future__ import annotations

from typing import Any

from services.zoho_sandbox.crm.tag_rules import (
    MAX_PER_MODULE,
    MAX_PER_RECORD,
    limit_exceeded,
    name_error,
)
from services.zoho_sandbox.server.tables import Table

Row = dict[str, Any]


class Tags:
    """The tags of one module over the sandbox's table of them."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def named(self, given: list[Row]) -> list[Row]:
        """The tags meant by `[{name}|{id}]`, each once; an unknown name makes a new tag."""
        tags: list[Row] = []
        for item in given:
            tag = self._find(item) or self.create(str(item.get("name", "")))
            if tag["id"] not in [other["id"] for other in tags]:
                tags.append({"name": tag["name"], "id": tag["id"], "color_code": tag["color_code"]})
        return tags

    def create(self, name: str) -> Row:
        """A new tag of the module, or the one of that name."""
        tag = self._find({"name": name})
        if tag is None:
            tag = self.table.add({"name": name, "color_code": None})
        return tag

    def room_error(self, given: list[Row]) -> Row | None:
        """LIMIT_EXCEEDED when the new names among `given` do not fit into the module."""
        new = {str(item.get("name")).casefold() for item in given if self._find(item) is None}
        if len(self.table) + len(new) > MAX_PER_MODULE:
            return limit_exceeded("tags", MAX_PER_MODULE)
        return None

    def add(self, record: Row, given: list[Row], *, over_write: bool) -> list[Row] | Row:
        """The record's new tags, or the error row; ten fit on a record."""
        for position, item in enumerate(given):
            error = name_error(item.get("name"), f"$.tags[{position}].name")
            if error and "id" not in item:
                return error
        if error := self.room_error(given):
            return error
        kept = [] if over_write else record.get("Tag") or []
        tags = self.named([*kept, *given])
        return limit_exceeded("Tag", MAX_PER_RECORD) if len(tags) > MAX_PER_RECORD else tags

    def without(self, record: Row, given: list[Row]) -> list[Row]:
        """The record's tags less the given ones; removing what is not there is no error."""
        gone = [tag["id"] for tag in map(self._find, given) if tag]
        return [tag for tag in record.get("Tag") or [] if tag["id"] not in gone]

    def _find(self, item: Row) -> Row | None:
        if item.get("id"):  # the id wins over the name
            return self.table.get(item["id"])
        name = str(item.get("name", "")).casefold()
        return next((tag for tag in self.table if tag["name"].casefold() == name), None)
