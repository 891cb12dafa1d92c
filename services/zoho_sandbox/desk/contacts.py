"""Store the contacts of Zoho Desk. Two contacts may have the same e-mail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from services.zoho_sandbox.desk.bodies import CONTACT, DeskBody, check
from services.zoho_sandbox.desk.errors import invalid_data, not_found
from services.zoho_sandbox.server.tables import Record, Table

# Called with the event type, the resource and its previous state.
DeskListener = Callable[[str, Record, Record | None], None]

_BLANK: dict[str, Any] = dict.fromkeys(CONTACT)


class DeskContacts:
    """The table of contacts. `on_change` is called for every change."""

    def __init__(self, table: Table, *, time: Callable[[], str], on_change: DeskListener) -> None:
        self.table = table
        self._time = time
        self._on_change = on_change

    def get(self, contact_id: str) -> Record:
        """Return the contact. Raises: DeskError: 404, there is none with this id."""
        contact = self.table.get(contact_id)
        if contact is None:
            raise not_found()
        return contact

    def create(self, body: Any) -> Record:
        """Add a contact, even when another one has that e-mail."""
        return self._add(check(body, CONTACT, required=("lastName",)))

    def update(self, contact_id: str, body: Any) -> Record:
        """Change the fields of the body, as PATCH does."""
        contact = self.get(contact_id)
        changes = check(body, CONTACT)
        if "lastName" in changes and not changes["lastName"]:
            raise invalid_data(("lastName", "missing"))
        before = dict(contact)
        cf = {**(contact["cf"] or {}), **(changes.get("cf") or {})}
        contact.update(changes, cf=cf, modifiedTime=self._time())
        self.table.save(contact)
        self._on_change("Contact_Update", contact, before)
        return contact

    def of_email(self, email: str, last_name: str) -> Record:
        """Return the oldest contact with this e-mail, or a new one. Not a search, so no lag."""
        for contact in self.table:
            if (contact.get("email") or "").casefold() == email.casefold():
                return contact
        return self._add({"lastName": last_name, "email": email})

    def trash(self, contact_ids: list[str]) -> None:
        """Move contacts to the trash. Raises: DeskError: 404, an id is unknown."""
        for contact in [self.get(contact_id) for contact_id in contact_ids]:
            contact["isTrashed"] = True
            contact["modifiedTime"] = self._time()
            self.table.save(contact)
            self._on_change("Contact_Delete", contact, None)

    def _add(self, body: DeskBody) -> Record:
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
        self._on_change("Contact_Add", contact, None)
        return contact
