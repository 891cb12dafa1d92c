"""Store tickets' histories, which show when a ticket was closed and by whom.

Source: Zoho's OpenAPI for Desk, `TicketHistory.json`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from services.zoho_sandbox.server.tables import Record, Table


class TicketHistory:
    """The table of history lines. Each names its ticket by `ticketId`."""

    def __init__(self, table: Table, *, time: Callable[[], str]) -> None:
        self.table = table
        self._time = time

    def add(
        self, ticket: Record, event: str, actor: Record, info: list[tuple[str, str, Any]]
    ) -> None:
        """Add a line. `info` has (property, its type, its value) for each change."""
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
        """Return the ticket's lines, newest first. With `field`, those that changed it."""
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
