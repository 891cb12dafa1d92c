"""A ticket's history, newest first: the record that tells when it was closed, and by whom.

Source: Zoho's OpenAPI for Desk, `TicketHistory.json`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from services.zoho_sandbox.server.tables import Record, Table


class History:
    """History lines over the sandbox's table of them; each knows its ticket by `ticketId`."""

    def __init__(self, table: Table, *, time: Callable[[], str]) -> None:
        self.table = table
        self._time = time

    def add(
        self, ticket: Record, event: str, actor: Record, info: list[tuple[str, str, Any]]
    ) -> None:
        """`info`: (property, its type, its value) of what changed."""
        self.table.add(
            {
                "ticketId": ticket["id"],
                "eventName": event,
                "eventTime": self._time(),
                "actor": {"id": actor["id"], "name": actor["name"], "type": "Agent"},
                "actorInfo": [],
                "source": None,
                "eventInfo": [
                    {
                        "propertyName": name,
                        "propertyType": kind,
                        "propertyValue": value,
                        "systemProperty": True,
                    }
                    for name, kind, value in info
                ],
            }
        )

    def of(self, ticket_id: str, field: str = "") -> list[Record]:
        """The ticket's lines, newest first; with `field` those that touch that property."""
        lines = [line for line in self.table if line["ticketId"] == ticket_id]
        if field:
            lines = [line for line in lines if _touches(line, field)]
        return [
            {key: value for key, value in line.items() if key not in ("id", "ticketId")}
            for line in reversed(lines)
        ]


def _touches(line: Record, field: str) -> bool:
    names = [info["propertyName"] for info in line["eventInfo"]]
    return any(name.casefold() == field.casefold() for name in names)
