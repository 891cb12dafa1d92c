"""Zoho Desk, one typed method per operation (https://desk.zoho.com/DeskAPIDocument).

Lists and searches cost 3 credits of the day, 5 beyond row 2,000, everything else 1. Nothing found
is 204 without a body. Lists count `from` from 1, searches from 0, and only the first 5,000 rows can
be reached.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from shared.zoho.call.http import Operation, Reply
from shared.zoho.products.client import ProductClient
from shared.zoho.products.desk.models import Comment, DeskContact, HistoryEntry, Ticket
from shared.zoho.products.desk.settings import DeskOrganization

MAX_DESCRIPTION: Final = 65_535
MAX_COMMENT: Final = 32_000
_PAGE: Final = 100
_SHORT_PAGE: Final = 99
# Standard fields of a contact that say who it is.
_PERSONAL: Final = (
    "firstName",
    "secondaryEmail",
    "phone",
    "mobile",
    "description",
    "title",
    "street",
    "city",
    "state",
    "country",
    "zip",
    "twitter",
    "facebook",
)
_REACHABLE: Final = 4_999
# Credits of a page that begins up to this row, and of a later one (docs/zoho/desk.md §2.5).
_CHEAP_UP_TO: Final = 2_000
_NEAR: Final = 3
_FAR: Final = 5
_TRASHES: Final = 6

CREATE_TICKET: Final = Operation("desk", "create_ticket", "POST", search_lag_s=60)
CREATE_COMMENT: Final = Operation("desk", "create_comment", "POST", search_lag_s=5)
_GET: Final = Operation("desk", "get_ticket", "GET", repeatable=True, of_one_record=True)
_UPDATE: Final = Operation("desk", "update_ticket", "PATCH", repeatable=True)
_CLOSE: Final = Operation("desk", "close_tickets", "POST", repeatable=True)
_SEARCH: Final = Operation("desk", "search_tickets", "GET", repeatable=True, weight=_NEAR)
_LIST_COMMENTS: Final = Operation("desk", "list_comments", "GET", repeatable=True, weight=_NEAR)
_HISTORY: Final = Operation("desk", "get_ticket_history", "GET", repeatable=True, weight=_NEAR)
_TRASH: Final = Operation("desk", "move_tickets_to_trash", "POST", repeatable=True, weight=_TRASHES)
_DELETE_COMMENT: Final = Operation("desk", "delete_comment", "DELETE", repeatable=True)
_LIST_ATTACHMENTS: Final = Operation(
    "desk", "list_attachments", "GET", repeatable=True, weight=_NEAR
)
_DELETE_ATTACHMENT: Final = Operation("desk", "delete_attachment", "DELETE", repeatable=True)
_UPDATE_CONTACT: Final = Operation("desk", "update_contact", "PATCH", repeatable=True)
_TICKETS_OF_CONTACT: Final = Operation(
    "desk", "list_tickets_of_contact", "GET", repeatable=True, weight=_NEAR
)
_SEARCH_CONTACTS: Final = Operation("desk", "search_contacts", "GET", repeatable=True, weight=_NEAR)


class ZohoDesk(ProductClient[DeskOrganization]):
    """Every method raises what `ZohoHttp.call` raises. Docstrings name what an operation adds."""

    async def create_ticket(
        self,
        *,
        email: str,
        last_name: str,
        subject: str,
        description: str,
        escalation_id: str | None,
        priority: str | None = None,
    ) -> Ticket:
        """Open a ticket. Desk finds its contact by the email given inline, or makes one.

        `description` is HTML and at most 65,535 characters: escape before. Our field is left out
        without an `escalation_id`. Desk makes another
        ticket, and mails the customer, each time it is asked: only inside an effect.

        Raises:
            ZohoRejected: 422. Its `fields` are those refused (`priority`, `contact/email`).
        """
        settings = self._settings
        body: dict[str, Any] = {
            "subject": subject,
            "departmentId": settings.zoho_desk_department_id,
            # Exactly these two keys: the OpenAPI file allows no others.
            "contact": {"lastName": last_name, "email": email},
            "email": email,
            "description": description,
            "priority": priority or settings.zoho_desk_priority,
            "status": settings.zoho_desk_status,
        }
        if settings.zoho_desk_escalation_field and escalation_id is not None:
            body["cf"] = {settings.zoho_desk_escalation_field: escalation_id}
        reply = await self._call(CREATE_TICKET, "/tickets", json=body)
        return Ticket.model_validate(reply.body)

    async def ticket(self, ticket_id: str) -> Ticket:
        """Raises ZohoRejected (404) when it was merged away or deleted."""
        reply = await self._call(_GET, f"/tickets/{ticket_id}", params={"include": "contacts"})
        return Ticket.model_validate(reply.body)

    def tickets_modified(self, first: datetime, last: datetime) -> AsyncIterator[Ticket]:
        """Tickets changed in the range, oldest change first. The index lags: overlap by minutes.

        Only 5,000 rows of a range can be reached: split it when that many came.
        """
        return self._search("modifiedTimeRange", first, last, sort_by="modifiedTime")

    def tickets_with_customer_replies(
        self, first: datetime, last: datetime
    ) -> AsyncIterator[Ticket]:
        """Tickets whose customer replied last in the range, oldest reply first.

        Nothing public says that a reply moves `modifiedTime`. Bounds as `tickets_modified`.
        """
        return self._search(
            "customerResponseTimeRange", first, last, sort_by="customerResponseTime"
        )

    def tickets_created(self, first: datetime, last: datetime) -> AsyncIterator[Ticket]:
        """Tickets made in the range: where a create without an answer is looked for."""
        return self._search("createdTimeRange", first, last, sort_by="createdTime")

    async def update_ticket(self, ticket_id: str, **fields: Any) -> Ticket:
        """Set these fields, by Desk's names (`status`, `priority`, `cf`)."""
        reply = await self._call(_UPDATE, f"/tickets/{ticket_id}", json=fields)
        return Ticket.model_validate(reply.body)

    async def close_tickets(self, ticket_ids: Sequence[str]) -> None:
        await self._call(_CLOSE, "/closeTickets", json={"ids": list(ticket_ids)})

    async def create_comment(self, ticket_id: str, *, content: str, is_public: bool) -> Comment:
        """Add a comment of at most 32,000 characters, as plain text. Public ones mail the customer.

        Desk makes another one each time it is asked: only inside an effect.
        """
        body = {"content": content, "isPublic": is_public, "contentType": "plainText"}
        path = f"/tickets/{ticket_id}/comments"
        reply = await self._call(CREATE_COMMENT, path, json=body)
        return Comment.model_validate(reply.body)

    async def comments_of(self, ticket_id: str) -> list[Comment]:
        """The comments of a ticket. Its list counts from 1."""
        comments: list[Comment] = []
        start = 1
        while start <= _REACHABLE:
            params: dict[str, str | int] = {"from": start, "limit": _PAGE}
            reply = await self._read_page(_LIST_COMMENTS, f"/tickets/{ticket_id}/comments", params)
            rows = reply.body.get("data") or []
            comments += [Comment.model_validate(row) for row in rows]
            if len(rows) < _PAGE:
                break
            start += _PAGE
        return comments

    async def delete_comment(self, ticket_id: str, comment_id: str) -> None:
        """Delete a comment. Raises ZohoRejected (404) for one that is gone."""
        await self._call(_DELETE_COMMENT, f"/tickets/{ticket_id}/comments/{comment_id}")

    async def attachments_of(self, ticket_id: str) -> list[str]:
        """The ids of the files attached to a ticket, at most 100."""
        path = f"/tickets/{ticket_id}/attachments"
        reply = await self._call(_LIST_ATTACHMENTS, path, params={"from": 1, "limit": _PAGE})
        return [str(row["id"]) for row in reply.body.get("data") or []]

    async def delete_attachment(self, ticket_id: str, attachment_id: str) -> None:
        """Delete an attached file. Raises ZohoRejected (404) for one that is gone."""
        await self._call(_DELETE_ATTACHMENT, f"/tickets/{ticket_id}/attachments/{attachment_id}")

    async def move_tickets_to_trash(self, ticket_ids: Sequence[str]) -> None:
        """Move tickets to the recycle bin, from which only staff remove them for good."""
        await self._call(_TRASH, "/tickets/moveToTrash", json={"ticketIds": list(ticket_ids)})

    async def tickets_of_contact(self, contact_id: str) -> list[Ticket]:
        """All tickets of a contact that can be reached."""
        path, tickets, start = f"/contacts/{contact_id}/tickets", list[Ticket](), 1
        while start <= _REACHABLE:
            params: dict[str, str | int] = {"from": start, "limit": _SHORT_PAGE}
            reply = await self._read_page(_TICKETS_OF_CONTACT, path, params)
            rows = reply.body.get("data") or []
            tickets += [Ticket.model_validate(row) for row in rows]
            if len(rows) < _SHORT_PAGE:
                break
            start += _SHORT_PAGE
        return tickets

    async def anonymize_contact(self, contact_id: str, *, last_name: str, email: str) -> None:
        """Empty every personal field. A last name is mandatory, so another takes its place."""
        body: dict[str, Any] = {"lastName": last_name, "email": email}
        await self._call(
            _UPDATE_CONTACT, f"/contacts/{contact_id}", json={**dict.fromkeys(_PERSONAL), **body}
        )

    async def status_history(self, ticket_id: str) -> list[HistoryEntry]:
        """The last 50 changes of the status: the reliable log of closings."""
        params: dict[str, str | int] = {"fieldName": "status", "from": 1, "limit": 50}
        reply = await self._call(_HISTORY, f"/tickets/{ticket_id}/History", params=params)
        return [HistoryEntry.model_validate(row) for row in reply.body.get("data") or []]

    async def contacts_with_email(self, email: str) -> list[DeskContact]:
        """Contacts with this email. New ones may be missing for minutes."""
        params: dict[str, str | int] = {"email": email, "limit": 99}
        reply = await self._call(_SEARCH_CONTACTS, "/contacts/search", params=params)
        found = [DeskContact.model_validate(row) for row in reply.body.get("data") or []]
        return [one for one in found if (one.email or "").casefold() == email.casefold()]

    async def _search(
        self, name: str, first: datetime, last: datetime, *, sort_by: str
    ) -> AsyncIterator[Ticket]:
        start = 0
        while start <= _REACHABLE:
            params: dict[str, str | int] = {
                name: f"{_desk_time(first)},{_desk_time(last)}",
                "sortBy": sort_by,
                "from": start,
                "limit": _PAGE,
            }
            reply = await self._read_page(_SEARCH, "/tickets/search", params)
            rows = reply.body.get("data") or []
            for row in rows:
                yield Ticket.model_validate(row)
            if len(rows) < _PAGE:
                return
            start += _PAGE

    async def _read_page(
        self, operation: Operation, path: str, params: Mapping[str, str | int]
    ) -> Reply:
        """One page of a list or a search, at what its place (`from`) costs."""
        weight = _NEAR if int(params["from"]) <= _CHEAP_UP_TO else _FAR
        return await self._call(operation, path, params=params, weight=weight)


def _desk_time(moment: datetime) -> str:
    """`2024-05-01T10:00:00.000Z`, as Desk wants it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
