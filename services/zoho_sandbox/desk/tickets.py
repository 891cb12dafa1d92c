"""The tickets of Zoho Desk: create, change, close, reopen, move, merge, trash, and their history.

Every change of status leaves a line in the ticket's history; `closedTime` is that of the last
closing. `happened` hears of every change with the state before it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from services.zoho_sandbox.desk.bodies import (
    INLINE_CONTACT,
    STATUS_TYPES,
    TICKET,
    TICKET_CHANGE,
    Body,
    check,
    check_custom_fields,
)
from services.zoho_sandbox.desk.contacts import DeskContacts, Happened
from services.zoho_sandbox.desk.errors import invalid_data, not_found
from services.zoho_sandbox.desk.history import History
from services.zoho_sandbox.server.tables import Record, Table

_LAYOUT_ID = "204600000000079001"
_HIDDEN = ("contact", "customFields")


class TicketRecords:
    """The table of tickets, with what a change does besides."""

    def __init__(
        self,
        table: Table,
        contacts: DeskContacts,
        history: History,
        *,
        departments: Table,
        custom_fields: tuple[str, ...],
        time: Callable[[], str],
        happened: Happened,
    ) -> None:
        self.table = table
        self._contacts = contacts
        self._history = history
        self._departments = departments
        self._custom_fields = custom_fields
        self._time = time
        self._happened = happened

    def get(self, ticket_id: str) -> Record:
        """Raises DeskError 404, also for an id that was merged away."""
        ticket = self.table.get(ticket_id)
        if ticket is None:
            raise not_found()
        return ticket

    def create(self, body: Any, *, actor: Record) -> Record:
        """A new ticket; with an inline contact the one of that e-mail is used or made."""
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
        self._happened("Ticket_Add", ticket, None)
        return ticket

    def update(self, ticket_id: str, body: Any, *, actor: Record) -> Record:
        """PATCH: what is not named stays."""
        ticket = self.get(ticket_id)
        changes = dict(check(body, TICKET_CHANGE))
        check_custom_fields(changes.get("cf") or {}, self._custom_fields)
        if "departmentId" in changes:
            self._check_department(str(changes["departmentId"]))
        if "cf" in changes:
            changes["cf"] = {**ticket["cf"], **(changes["cf"] or {})}
        return self.change(ticket, changes, actor=actor)

    def change(self, ticket: Record, changes: Body, *, actor: Record) -> Record:
        """Write `changes`; a new status moves its type, the closing time and the history."""
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
        self._happened("Ticket_Update", ticket, before)
        return ticket

    def close(self, ticket_id: str, *, actor: Record, resolution: str | None = None) -> Record:
        """Closed, with a resolution (HTML) or without: agents often leave it empty."""
        changes: Body = {"status": "Closed"}
        if resolution is not None:
            changes["resolution"] = resolution
        return self.change(self.get(ticket_id), changes, actor=actor)

    def reopen(self, ticket_id: str, *, actor: Record) -> Record:
        """Back to the default status."""
        return self.change(self.get(ticket_id), {"status": "Open"}, actor=actor)

    def move(self, ticket_id: str, department_id: str, *, actor: Record) -> Record:
        """Into another department; the ticket keeps its id."""
        self._check_department(department_id)
        changes = {"departmentId": department_id}
        return self.change(self.get(ticket_id), changes, actor=actor)

    def merge(self, master_id: str, child_ids: list[str], *, actor: Record) -> Record:
        """The children's ids vanish; reads of them answer 404."""
        master = self.get(master_id)
        for child in [self.get(child_id) for child_id in child_ids]:
            self._history.add(child, "TicketMergedChild", actor, [])
            self.table.remove(child["id"])
            self._happened("Ticket_Delete", child, None)
        self._history.add(master, "TicketMergedMaster", actor, [])
        return self.change(master, {}, actor=actor)

    def trash(self, ticket_ids: list[str], *, actor: Record) -> None:
        """Searches forget the ticket; GET goes on with `isTrashed`."""
        for ticket in [self.get(ticket_id) for ticket_id in ticket_ids]:
            ticket["isTrashed"] = ticket["isDeleted"] = True
            ticket["modifiedTime"] = self._time()
            self.table.save(ticket)
            self._history.add(ticket, "TicketDeleted", actor, [])
            self._happened("Ticket_Delete", ticket, None)

    def _move_status(self, ticket: Record, before: Record) -> None:
        ticket["statusType"] = STATUS_TYPES.get(ticket["status"], "Open")
        if ticket["statusType"] == before["statusType"]:
            return
        ticket["closedTime"] = self._time() if ticket["statusType"] == "Closed" else None
        ticket["onholdTime"] = self._time() if ticket["statusType"] == "On Hold" else None

    def _contact(self, fields: Body) -> Record:
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
