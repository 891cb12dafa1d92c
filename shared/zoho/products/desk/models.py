"""Model what Zoho Desk sends (https://desk.zoho.com/DeskAPIDocument)."""

from __future__ import annotations

from typing import Any

from pydantic import AliasChoices, Field

from shared.zoho.products.values import MaybeId, ZohoId, ZohoModel, ZohoText, ZohoTime


class TicketContact(ZohoModel):
    id: MaybeId = None
    email: ZohoText = None
    first_name: ZohoText = Field(default=None, validation_alias="firstName")
    last_name: ZohoText = Field(default=None, validation_alias="lastName")


class Ticket(ZohoModel):
    """A ticket. Searches and lists leave fields out. `email` may be null on any.

    `webUrl` is left out on purpose: it is the agents' console.
    """

    id: ZohoId
    ticket_number: ZohoText = Field(default=None, validation_alias="ticketNumber")
    subject: ZohoText = None
    status: str = ""
    status_type: ZohoText = Field(default=None, validation_alias="statusType")
    priority: ZohoText = None
    resolution: ZohoText = None
    description: ZohoText = None
    email: ZohoText = None
    contact_id: MaybeId = Field(default=None, validation_alias="contactId")
    contact: TicketContact | None = None
    department_id: MaybeId = Field(default=None, validation_alias="departmentId")
    created_time: ZohoTime = Field(default=None, validation_alias="createdTime")
    modified_time: ZohoTime = Field(default=None, validation_alias="modifiedTime")
    customer_response_time: ZohoTime = Field(default=None, validation_alias="customerResponseTime")
    closed_time: ZohoTime = Field(default=None, validation_alias="closedTime")
    is_trashed: bool | None = Field(default=None, validation_alias="isTrashed")
    is_spam: bool | None = Field(default=None, validation_alias="isSpam")
    cf: dict[str, Any] | None = None

    @property
    def kind(self) -> str:
        """`open`, `onhold` or `closed`. Statuses are the organization's own words, types are not.

        An organization that shows no type is judged by the status Desk comes with.
        """
        return (self.status_type or self.status).casefold().replace(" ", "")

    @property
    def is_closed(self) -> bool:
        return self.kind == "closed"

    def custom_field(self, name: str) -> str | None:
        value = (self.cf or {}).get(name)
        return None if value in (None, "") else str(value)


class Comment(ZohoModel):
    id: ZohoId
    content: str = ""
    is_public: bool = Field(default=False, validation_alias="isPublic")
    commented_time: ZohoTime = Field(default=None, validation_alias="commentedTime")


class DeskContact(ZohoModel):
    id: ZohoId
    email: ZohoText = None
    first_name: ZohoText = Field(default=None, validation_alias="firstName")
    last_name: ZohoText = Field(default=None, validation_alias="lastName")


class HistoryProperty(ZohoModel):
    name: ZohoText = Field(
        default=None, validation_alias=AliasChoices("propertyName", "fieldName", "name")
    )
    value: Any = Field(default=None, validation_alias=AliasChoices("propertyValue", "value"))


class HistoryEntry(ZohoModel):
    """One step of a ticket's history. A changed property has a previous and an updated value."""

    name: ZohoText = Field(default=None, validation_alias="eventName")
    time: ZohoTime = Field(default=None, validation_alias="eventTime")
    properties: tuple[HistoryProperty, ...] = Field(default=(), validation_alias="eventInfo")

    def change_of(self, field: str) -> tuple[str | None, str | None] | None:
        """(previous, updated) value of a property. None when this step did not change it."""
        for one in self.properties:
            if (one.name or "").casefold() != field.casefold():
                continue
            if isinstance(one.value, dict):
                return one.value.get("previousValue"), one.value.get("updatedValue")
            return None, None if one.value is None else str(one.value)
        return None
