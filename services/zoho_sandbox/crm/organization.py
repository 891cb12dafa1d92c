"""Build one organization's CRM: its tables and the objects that work on them."""

from __future__ import annotations

from urllib.parse import urlencode

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
            behaviour=lambda: world.behaviour,
        )
        self.notes = Notes(
            world.define("crm", "notes", key="id"),
            time=world.clock.crm_time,
            user=USERS[API_USER],
            parent_exists=lambda contact_id: self.contacts.get(contact_id) is not None,
        )

    def _notify(self, operation: str, contact: Record, affected: list[str]) -> None:
        """Notify every channel, and run the workflow rules.

        A webhook target with a `token` counts as a channel for all changes, one with a
        `workflow_secret` as a workflow rule that posts each contact made or edited.
        """
        self._notify_channels(operation, contact, affected)
        if operation != "delete" and self.contacts.automations_run:
            self._run_workflows(operation, contact)

    def _run_workflows(self, operation: str, contact: Record) -> None:
        """Post as a workflow webhook does by default: a form, with the header of the rule."""
        for target in self.world.webhooks.targets("crm"):
            if secret := target.options.get("workflow_secret"):
                self.world.webhooks.send(
                    "crm",
                    target.url,
                    urlencode({"contact_id": contact["id"]}).encode(),
                    {
                        "Content-Type": "application/x-www-form-urlencoded",
                        "X-Webhook-Secret": str(secret),
                    },
                    event_type=f"workflow.{operation}",
                )

    def _notify_channels(self, operation: str, contact: Record, affected: list[str]) -> None:
        target_channels = [
            {
                "channel_id": str(target.options.get("channel_id", "1000000068001")),
                "token": target.options.get("token", target.secret),
                "notify_url": target.url,
                "return_affected_field_values": True,
            }
            for target in self.world.webhooks.targets("crm")
            if "workflow_secret" not in target.options or "token" in target.options
        ]
        for url, body in self.channels.notifications(operation, contact, affected, target_channels):
            self.world.webhooks.send(
                "crm",
                url,
                orjson.dumps(body),
                {"Content-Type": "application/json"},
                event_type=f"Contacts.{operation}",
            )
