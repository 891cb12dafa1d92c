"""Build one organization's Desk: its tables and the objects that work on them."""

from __future__ import annotations

from services.zoho_sandbox.desk.contacts import DeskContacts
from services.zoho_sandbox.desk.conversations import Conversations
from services.zoho_sandbox.desk.history import TicketHistory
from services.zoho_sandbox.desk.settings import DeskFieldNames
from services.zoho_sandbox.desk.tickets import TicketRecords
from services.zoho_sandbox.desk.webhooks import DeskWebhooks
from services.zoho_sandbox.server.tables import Record
from services.zoho_sandbox.server.world import World

OTHER_DEPARTMENT_ID = "204600000000006909"
AGENT: Record = {
    "id": "204600000000056007",
    "name": "Integration Agent",
    "firstName": "Integration",
    "lastName": "Agent",
    "emailId": "integration@sandbox.example",
    "email": "integration@sandbox.example",
    "type": "AGENT",
    "status": "ACTIVE",
    "isConfirmed": True,
}
STAFF: Record = {
    "id": "204600000000042001",
    "name": "Sam Staff",
    "firstName": "Sam",
    "lastName": "Staff",
    "emailId": "staff@sandbox.example",
    "email": "staff@sandbox.example",
    "type": "AGENT",
    "status": "ACTIVE",
    "isConfirmed": True,
}


class DeskOrg:
    """The parts that Desk's handlers share."""

    def __init__(self, world: World, names: DeskFieldNames) -> None:
        self.world = world
        self.custom_fields = (names.escalation_field,)
        time = world.clock.desk_time
        tickets = world.define("desk", "tickets", key="id")
        self.departments = world.define("desk", "departments", key="id")
        self.agents = world.define("desk", "agents", key="id")
        self.tags = world.define("desk", "tags", key="id")
        self.hooks = world.define("desk", "webhooks", key="id")
        self.webhooks = DeskWebhooks(world, self.hooks, webhook_id=names.webhook_id)
        on_change = self.webhooks.announce
        self.history = TicketHistory(world.define("desk", "history", key="id"), time=time)
        self.contacts = DeskContacts(
            world.define("desk", "contacts", key="id"), time=time, on_change=on_change
        )
        self.tickets = TicketRecords(
            tickets,
            self.contacts,
            self.history,
            departments=self.departments,
            custom_fields=self.custom_fields,
            time=time,
            on_change=on_change,
        )
        self.conversations = Conversations(
            world.define("desk", "comments", key="id"),
            world.define("desk", "threads", key="id"),
            world.define("desk", "attachments", key="id"),
            tickets,
            self.history,
            time=time,
            on_change=on_change,
            move_modified_time=lambda: world.behaviour.replies_move_modified_time,
        )
        world.start_with(_seed)

    def customer_of(self, ticket: Record) -> Record:
        """Return the ticket's contact as the author of a mail."""
        contact = self.contacts.table.get(ticket["contactId"]) or {}
        return {
            "id": contact.get("id", ""),
            "name": contact.get("lastName", ""),
            "email": contact.get("email"),
            "type": "END_USER",
        }

    def tags_of(self, ticket_id: str) -> set[str]:
        """Return the names of a ticket's tags, in lower case."""
        return {tag["name"].casefold() for tag in self.tags if ticket_id in tag["ticketIds"]}


def _seed(world: World) -> None:
    now = world.clock.desk_time()
    names = {world.settings.desk_department_id: "Support", OTHER_DEPARTMENT_ID: "Billing questions"}
    world.table("desk", "departments").load(
        [
            {
                "id": department_id,
                "name": name,
                "nameInCustomerPortal": name,
                "isEnabled": True,
                "isDefault": name == "Support",
                "isVisibleInCustomerPortal": True,
                "description": None,
                "creatorId": STAFF["id"],
                "createdTime": now,
            }
            for department_id, name in names.items()
        ]
    )
    associated = list(names)
    world.table("desk", "agents").load(
        [{**agent, "associatedDepartmentIds": associated} for agent in (AGENT, STAFF)]
    )
