"""Store the tickets of Zoho Desk: create, change, close, reopen, move, merge, trash.

Every change of status adds a line to the ticket's history. `closedTime` is the time of the last
closing. `on_change` is called for every change with the state before it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from services.zoho_sandbox.desk.bodies import (
    INLINE_CONTACT,
    STATUS_TYPES,
    TICKET,
    TICKET_CHANGE,
    DeskBody,
    check,
    check_custom_fields,
)
from services.zoho_sandbox.desk.contacts import DeskContacts, DeskListener
from services.zoho_sandbox.desk.errors import invalid_data, not_found
from services.zoho_sandbox.desk.history import TicketHistory
from services.zoho_sandbox.server.tables import Record, Table

_LAYOUT_ID = "204600000000079001"
_HIDDEN = ("contact", "customFields")


class TicketRecords:
    """The table of tickets. Changes also write the history and call `on_change`."""

    def __init__(
        self,
        table: Table,
        contacts: DeskContacts,
        history: TicketHistory,
        *,
        departments: Table,
        custom_fields: tuple[str, ...],
        time: Callable[[], str],
        on_change: DeskListener,
    ) -> None:
        self.table = table
        self._contacts = contacts
        self._history = history
        self._departments = departments
        self._custom_fields = custom_fields
        self._time = time
        self._on_change = on_change

    def get(self, ticket_id: str) -> Record:
        """Return the ticket. Raises: DeskError: 404, the id is unknown or of a merged ticket."""
        ticket = self.table.get(ticket_id)
        if ticket is None:
            raise not_found()
        return ticket

    def create(self, body: Any, *, actor: Record) -> Record:
        """Add a ticket. An inline contact is looked up by its e-mail, and created if it is new."""
        fields = check(body, TICKET, required=("subject", "departmentId"))
        check_custom_fields(fields.get("cf") or {}, self._custom_fields)
        self._check_department(str(fields["departmentId"]))
        contact = self._contact(fields)
        ticket = self._blank() | {k: v for k, v in fields.items() if k not in _HIDDEN}
        ticket["cf"] = dict.fromkeys(self._custom_fields) | (fields.get("cf") or {})
        ticket["contactId"] = contact["id"]
        ticket["statusType"] = STATUS_TYPES[ticket["status"]]
        ticket["ticketNumber"] = str(101 + len(self.table))
        if ticket["statusType"] == "Closed":
            ticket["closedTime"] = ticket["createdTime"]
        self.table.add(ticket)
        ticket["webUrl"] = _web_url(ticket["id"])
        self.table.save(ticket)
        self._history.add(ticket, "TicketCreated", actor, [("Status", "Text", ticket["status"])])
        self._on_change("Ticket_Add", ticket, None)
        return ticket

    def update(self, ticket_id: str, body: Any, *, actor: Record) -> Record:
        """Change the fields of the body, as PATCH does."""
        ticket = self.get(ticket_id)
        changes = dict(check(body, TICKET_CHANGE))
        check_custom_fields(changes.get("cf") or {}, self._custom_fields)
        if "departmentId" in changes:
            self._check_department(str(changes["departmentId"]))
        if "cf" in changes:
            changes["cf"] = {**ticket["cf"], **(changes["cf"] or {})}
        return self.change(ticket, changes, actor=actor)

    def change(self, ticket: Record, changes: DeskBody, *, actor: Record) -> Record:
        """Write `changes`. A new status also changes its type, the closing time and the history."""
        before = dict(ticket)
        changed = {key: value for key, value in changes.items() if ticket.get(key) != value}
        ticket.update(changed)
        if "status" in changed:
            self._move_status(ticket, before)
        ticket["modifiedTime"] = self._time()
        ticket["modifiedBy"] = actor["id"]
        self.table.save(ticket)
        transitions = [
            (_PROPERTY.get(key, key), "ValueTransition", _transition(before.get(key), value))
            for key, value in changed.items()
        ]
        if transitions:
            self._history.add(ticket, "TicketUpdated", actor, transitions)
        self._on_change("Ticket_Update", ticket, before)
        return ticket

    def close(self, ticket_id: str, *, actor: Record, resolution: str | None = None) -> Record:
        """Close a ticket, with a resolution (HTML) or without, as agents often do."""
        changes: DeskBody = {"status": "Closed"}
        if resolution is not None:
            changes["resolution"] = resolution
        return self.change(self.get(ticket_id), changes, actor=actor)

    def reopen(self, ticket_id: str, *, actor: Record) -> Record:
        """Set the default status again."""
        return self.change(self.get(ticket_id), {"status": "Open"}, actor=actor)

    def move(self, ticket_id: str, department_id: str, *, actor: Record) -> Record:
        """Move a ticket to another department. It keeps its id."""
        self._check_department(department_id)
        changes = {"departmentId": department_id}
        return self.change(self.get(ticket_id), changes, actor=actor)

    def merge(self, master_id: str, child_ids: list[str], *, actor: Record) -> Record:
        """Merge tickets. The children's ids vanish, and reads of them answer 404."""
        master = self.get(master_id)
        for child in [self.get(child_id) for child_id in child_ids]:
            self._history.add(child, "TicketMergedChild", actor, [])
            self.table.remove(child["id"])
            self._on_change("Ticket_Delete", child, None)
        self._history.add(master, "TicketMergedMaster", actor, [])
        return self.change(master, {}, actor=actor)

    def trash(self, ticket_ids: list[str], *, actor: Record) -> None:
        """Move tickets to the trash. Searches do not find them, and GET shows `isTrashed`."""
        for ticket in [self.get(ticket_id) for ticket_id in ticket_ids]:
            ticket["isTrashed"] = ticket["isDeleted"] = True
            ticket["modifiedTime"] = self._time()
            self.table.save(ticket)
            self._history.add(ticket, "TicketDeleted", actor, [])
            self._on_change("Ticket_Delete", ticket, None)

    def _move_status(self, ticket: Record, before: Record) -> None:
        ticket["statusType"] = STATUS_TYPES.get(ticket["status"], "Open")
        if ticket["statusType"] == before["statusType"]:
            return
        ticket["closedTime"] = self._time() if ticket["statusType"] == "Closed" else None
        ticket["onholdTime"] = self._time() if ticket["statusType"] == "On Hold" else None

    def _contact(self, fields: DeskBody) -> Record:
        if fields.get("contact"):
            inline = check(
                fields["contact"], INLINE_CONTACT, required=("lastName", "email"), at="contact/"
            )
            return self._contacts.of_email(inline["email"], inline["lastName"])
        if not fields.get("contactId"):
            raise invalid_data(("contactId", "missing"))
        contact = self._contacts.table.get(str(fields["contactId"]))
        if contact is None:
            raise invalid_data(("contactId", "invalid"))
        return contact

    def _check_department(self, department_id: str) -> None:
        if self._departments.get(department_id) is None:
            raise invalid_data(("departmentId", "invalid"))

    def _blank(self) -> Record:
        now = self._time()
        return {
            **dict.fromkeys(key for key in TICKET if key not in _HIDDEN),
            "status": "Open",
            "channel": "Web",
            "language": "English",
            "resolution": None,
            "closedTime": None,
            "onholdTime": None,
            "createdTime": now,
            "modifiedTime": now,
            "customerResponseTime": now,
            "isEscalated": False,
            "isOverDue": False,
            "isTrashed": False,
            "isDeleted": False,
            "isSpam": False,
            "isArchived": False,
            "threadCount": "0",
            "commentCount": "0",
            "taskCount": "0",
            "attachmentCount": "0",
            "channelRelatedInfo": None,
            "source": {
                "type": "SYSTEM",
                "appName": None,
                "appPhotoURL": None,
                "extId": None,
                "permalink": None,
            },
            "accountId": None,
            "approvalCount": "0",
            "channelCode": None,
            "customFields": {},
            "isResponseOverdue": False,
            "layoutDetails": {"id": _LAYOUT_ID, "layoutName": "Tickets"},
            "layoutId": _LAYOUT_ID,
            "modifiedBy": None,
            "responseDueDate": None,
            "secondaryContacts": [],
            "sharedDepartments": [],
            "slaId": None,
            "timeEntryCount": "0",
        }


_PROPERTY = {"status": "Status", "priority": "Priority", "departmentId": "Department"}


def _transition(before: Any, after: Any) -> dict[str, Any]:
    return {"previousValue": before, "updatedValue": after}


def _web_url(ticket_id: str) -> str:
    return f"https://desk.zoho.com/support/sandbox/ShowHomePage.do#Cases/dv/{ticket_id}"
