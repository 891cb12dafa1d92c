"""Contacts of Zoho Desk. Duplicates are allowed: two contacts may have one e-mail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from services.zoho_sandbox.desk.bodies import CONTACT, Body, check
from services.zoho_sandbox.desk.errors import invalid_data, not_found
from services.zoho_sandbox.server.tables import Record, Table

Happened = Callable[[str, Record, Record | None], None]  # event type, resource, previous state

_BLANK: dict[str, Any] = dict.fromkeys(CONTACT)


class DeskContacts:
    """The table of contacts. `happened` hears of every change."""

    def __init__(self, table: Table, *, time: Callable[[], str], happened: Happened) -> None:
        self.table = table
        self._time = time
        self._happened = happened

    def get(self, contact_id: str) -> Record:
        """Raises DeskError 404."""
        contact = self.table.get(contact_id)
        if contact is None:
            raise not_found()
        return contact

    def create(self, body: Any) -> Record:
        """A new contact, whoever else has that e-mail."""
        return self._add(check(body, CONTACT, required=("lastName",)))

    def update(self, contact_id: str, body: Any) -> Record:
        """PATCH: what is not named stays."""
        contact = self.get(contact_id)
        changes = check(body, CONTACT)
        if "lastName" in changes and not changes["lastName"]:
            raise invalid_data(("lastName", "missing"))
        before = dict(contact)
        cf = {**(contact["cf"] or {}), **(changes.get("cf") or {})}
        contact.update(changes, cf=cf, modifiedTime=self._time())
        self.table.save(contact)
        self._happened("Contact_Update", contact, before)
        return contact

    def of_email(self, email: str, last_name: str) -> Record:
        """The oldest contact with this e-mail, else a new one: no search, so no lag."""
        for contact in self.table:
            if (contact.get("email") or "").casefold() == email.casefold():
                return contact
        return self._add({"lastName": last_name, "email": email})

    def trash(self, contact_ids: list[str]) -> None:
        """Raises DeskError 404 for an unknown id."""
        for contact in [self.get(contact_id) for contact_id in contact_ids]:
            contact["isTrashed"] = True
            contact["modifiedTime"] = self._time()
            self.table.save(contact)
            self._happened("Contact_Delete", contact, None)

    def _add(self, body: Body) -> Record:
        now = self._time()
        contact: Record = {
            **_BLANK,
            **body,
            "cf": body.get("cf") or {},
            "createdTime": now,
            "modifiedTime": now,
            "isDeleted": False,
            "isTrashed": False,
            "isSpam": False,
            "isAnonymous": False,
            "zohoCRMContact": None,
        }
        self.table.add(contact)
        contact["webUrl"] = (
            f"https://desk.zoho.com/support/sandbox/ShowHomePage.do#Contacts/dv/{contact['id']}"
        )
        self.table.save(contact)
        self._happened("Contact_Add", contact, None)
        return contact
