"""Build one organization's CRM: its tables and the objects that work on them."""

from __future__ import annotations

import orjson

from services.zoho_sandbox.crm.fields import contact_fields
from services.zoho_sandbox.crm.notes import Notes
from services.zoho_sandbox.crm.notifications import NotificationChannels
from services.zoho_sandbox.crm.records import API_USER, STAFF_USER, ContactRecords
from services.zoho_sandbox.crm.settings import CrmFieldNames
from services.zoho_sandbox.crm.tags import Tags
from services.zoho_sandbox.server.tables import Record
from services.zoho_sandbox.server.world import World

CONTACTS_MODULE_ID = "487600000000002179"
USERS: dict[str, Record] = {
    API_USER: {
        "id": "487600000000225013",
        "name": "Integration User",
        "full_name": "Integration User",
        "email": "integration@sandbox.example",
        "status": "active",
    },
    STAFF_USER: {
        "id": "487600000000225017",
        "name": "Sam Staff",
        "full_name": "Sam Staff",
        "email": "staff@sandbox.example",
        "status": "active",
    },
}


class CrmOrg:
    """The parts that CRM's handlers share."""

    def __init__(self, world: World, names: CrmFieldNames) -> None:
        self.world = world
        self.channels = NotificationChannels(
            world.define("crm", "channels", key="channel_id"),
            now=world.clock.now,
            module_id=CONTACTS_MODULE_ID,
        )
        self.fields = contact_fields(names.user_field, names.tier_field)
        self.tags = Tags(world.define("crm", "tags", key="id"))
        self.contacts = ContactRecords(
            world.define("crm", "contacts", key="id"),
            world.define("crm", "deleted", key="id"),
            self.fields,
            self.tags,
            time=world.clock.crm_time,
            users=USERS,
            on_change=self._notify,
            lowered_lengths=lambda: world.behaviour.maximum_lengths,
        )
        self.notes = Notes(
            world.define("crm", "notes", key="id"),
            time=world.clock.crm_time,
            user=USERS[API_USER],
            parent_exists=lambda contact_id: self.contacts.get(contact_id) is not None,
        )

    def _notify(self, operation: str, contact: Record, affected: list[str]) -> None:
        """Notify every channel. A webhook target counts as a channel for all changes."""
        target_channels = [
            {
                "channel_id": str(target.options.get("channel_id", "1000000068001")),
                "token": target.options.get("token", target.secret),
                "notify_url": target.url,
                "return_affected_field_values": True,
            }
            for target in self.world.webhooks.targets("crm")
        ]
        for url, body in self.channels.notifications(operation, contact, affected, target_channels):
            self.world.webhooks.send(
                "crm",
                url,
                orjson.dumps(body),
                {"Content-Type": "application/json"},
                event_type=f"Contacts.{operation}",
            )
