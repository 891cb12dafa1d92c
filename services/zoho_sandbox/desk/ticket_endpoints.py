"""Serve tickets: create, read, change, search, history, resolution, tags."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from services.zoho_sandbox.desk.bodies import IDS, check
from services.zoho_sandbox.desk.dialect import answer, data
from services.zoho_sandbox.desk.errors import invalid_data, unprocessable
from services.zoho_sandbox.desk.organization import AGENT, DeskOrg
from services.zoho_sandbox.desk.search import (
    TICKET_PARAMETERS,
    bounded,
    check_parameters,
    search_tickets,
)
from services.zoho_sandbox.server.routes import ApiCall
from services.zoho_sandbox.server.tables import Record

_LIST_PARAMETERS = {
    "include", "departmentId", "dueDate", "limit", "channel", "from", "sortBy", "assignee",
    "teamIds", "receivedInDays", "closedTime", "status", "orgId",
}  # fmt: skip
_LIST_SORTS = ("createdTime", "dueDate", "recentThread")
_INCLUDES = {
    "contacts",
    "products",
    "departments",
    "team",
    "assignee",
    "contract",
    "isRead",
    "skills",
}
# Shown only by a read of one ticket.
_ONLY_OF_ONE = {
    "createdBy": AGENT["id"],
    "followerCount": "0",
    "isFollowing": False,
    "sentiment": None,
}
# Missing in the rows of a list.
# Schema `listviewCommonJson` of Zoho's file.
_IN_LISTS_OF_CONTACTS = (
    "id", "ticketNumber", "subject", "status", "statusType", "priority", "email", "phone",
    "contactId", "departmentId", "accountId", "assigneeId", "teamId", "productId", "channel",
    "channelCode", "language", "source", "sentiment", "relationshipType", "lastThread",
    "threadCount", "commentCount", "createdTime", "closedTime", "onholdTime", "dueDate",
    "responseDueDate", "customerResponseTime", "isArchived", "isSpam", "webUrl",
)  # fmt: skip
_NOT_IN_LISTS = ("description", "cf", "modifiedTime", "resolution", "modifiedBy")


class TicketEndpoints:
    """Handlers of calls on the organization's tickets."""

    def __init__(self, desk: DeskOrg) -> None:
        self._desk = desk
        self._tickets = desk.tickets

    async def create(self, call: ApiCall) -> web.StreamResponse:
        ticket = self._tickets.create(call.json(), actor=AGENT)
        self._desk.conversations.open(ticket, author=self._desk.customer_of(ticket))
        return answer(ticket)

    async def get(self, call: ApiCall) -> web.StreamResponse:
        check_parameters(call.request.query, {"include", "orgId"})
        ticket = self._with_included(call, self._tickets.get(call.path("id")))
        tags = len(self._desk.tags_of(ticket["id"]))
        return answer({**_ONLY_OF_ONE, **ticket, "tagCount": str(tags)})

    async def update(self, call: ApiCall) -> web.StreamResponse:
        return answer(self._tickets.update(call.path("id"), call.json(), actor=AGENT))

    async def list_tickets(self, call: ApiCall) -> web.StreamResponse:
        """List from row 1. Rows have no description, custom fields or modified time."""
        check_parameters(call.request.query, _LIST_PARAMETERS)
        start, limit = bounded(call.request.query, first=1, limit=10, most=100)
        rows = [row for row in self._tickets.table.searched() if not row["isTrashed"]]
        for parameter, field in (
            ("departmentId", "departmentId"), ("status", "status"), ("assignee", "assigneeId"),
            ("channel", "channel"),
        ):  # fmt: skip
            wanted = {part.strip() for part in call.query(parameter).split(",") if part}
            rows = [row for row in rows if not wanted or row[field] in wanted]
        by = call.query("sortBy", "createdTime")
        if by.lstrip("-") not in _LIST_SORTS:
            raise unprocessable("The value passed for the 'sortBy' query parameter is invalid.")
        field = "createdTime" if by.lstrip("-") == "recentThread" else by.lstrip("-")
        rows.sort(key=lambda row: str(row[field] or ""), reverse=by.startswith("-"))
        page = [self._with_included(call, row) for row in rows[start - 1 : start - 1 + limit]]
        return data([_without(row, _NOT_IN_LISTS) for row in page])

    async def search(self, call: ApiCall) -> web.StreamResponse:
        """Search from row 0. Answers 204 when nothing matches. The index lags."""
        check_parameters(call.request.query, TICKET_PARAMETERS)
        query = {k: v for k, v in call.request.query.items() if k not in ("orgId", "include")}
        rows, count = search_tickets(self._tickets.table.searched(), query, self._desk.tags_of)
        return data([self._with_contact(row) for row in rows], count=count)

    async def of_contact(self, call: ApiCall) -> web.StreamResponse:
        contact = self._desk.contacts.get(call.path("id"))
        start, limit = bounded(call.request.query, first=1, limit=10, most=99)
        rows = [row for row in self._tickets.table.searched() if row["contactId"] == contact["id"]]
        page = rows[start - 1 : start - 1 + limit]
        return data([{name: row.get(name) for name in _IN_LISTS_OF_CONTACTS} for row in page])

    async def close_many(self, call: ApiCall) -> web.StreamResponse:
        """Close tickets. The answer is a 200 without a body."""
        body = check(call.json(), {"ids": IDS}, required=("ids",))
        for ticket in [self._tickets.get(str(ticket_id)) for ticket_id in body["ids"]]:
            self._tickets.close(ticket["id"], actor=AGENT)
        return web.Response(status=200)

    async def move(self, call: ApiCall) -> web.StreamResponse:
        department_id = str(call.json().get("departmentId", ""))
        self._tickets.move(call.path("id"), department_id, actor=AGENT)
        return web.Response(status=200)

    async def merge(self, call: ApiCall) -> web.StreamResponse:
        ids = [str(ticket_id) for ticket_id in call.json().get("ids") or []]
        return answer(self._tickets.merge(call.path("id"), ids, actor=AGENT))

    async def trash(self, call: ApiCall) -> web.StreamResponse:
        body = check(call.json(), {"ticketIds": IDS}, required=("ticketIds",))
        self._tickets.trash([str(ticket_id) for ticket_id in body["ticketIds"]], actor=AGENT)
        return web.Response(status=204)

    async def history(self, call: ApiCall) -> web.StreamResponse:
        """List from row 1, at most 50, newest first."""
        check_parameters(
            call.request.query, {"from", "limit", "fieldName", "eventFilter", "agentId", "orgId"}
        )
        start, limit = bounded(call.request.query, first=1, limit=10, most=50)
        ticket = self._tickets.get(call.path("id"))
        lines = self._desk.history.of(ticket["id"], call.query("fieldName"))
        return data(lines[start - 1 : start - 1 + limit])

    async def resolution(self, call: ApiCall) -> web.StreamResponse:
        ticket = self._tickets.get(call.path("id"))
        return answer(_resolution(ticket)) if ticket["resolution"] else web.Response(status=204)

    async def set_resolution(self, call: ApiCall) -> web.StreamResponse:
        body = call.json()
        if not isinstance(body.get("content"), str) or len(body["content"]) > 65535:
            raise invalid_data(("content", "invalid"))
        ticket = self._tickets.get(call.path("id"))
        self._tickets.change(ticket, {"resolution": body["content"]}, actor=AGENT)
        return answer(_resolution(ticket))

    async def clear_resolution(self, call: ApiCall) -> web.StreamResponse:
        ticket = self._tickets.get(call.path("id"))
        self._tickets.change(ticket, {"resolution": None}, actor=AGENT)
        return web.Response(status=204)

    async def tags(self, call: ApiCall) -> web.StreamResponse:
        ticket = self._tickets.get(call.path("id"))
        tags = [tag for tag in self._desk.tags if ticket["id"] in tag["ticketIds"]]
        return answer({"tags": [_without(tag, ("ticketIds",)) for tag in tags]})

    async def associate_tag(self, call: ApiCall) -> web.StreamResponse:
        ticket = self._tickets.get(call.path("id"))
        for name in _tag_names(call.json()):
            tag = self._tag(name)
            tag["ticketIds"] = sorted({*tag["ticketIds"], ticket["id"]})
            self._desk.tags.save(tag)
        return await self.tags(call)

    async def dissociate_tag(self, call: ApiCall) -> web.StreamResponse:
        ticket = self._tickets.get(call.path("id"))
        for name in _tag_names(call.json()):
            tag = self._tag(name)
            tag["ticketIds"] = [other for other in tag["ticketIds"] if other != ticket["id"]]
            self._desk.tags.save(tag)
        return await self.tags(call)

    def _tag(self, name: str) -> Record:
        for tag in self._desk.tags:
            if tag["name"].casefold() == name.casefold():
                return tag
        return self._desk.tags.add({"name": name, "tagType": "MANUAL", "ticketIds": []})

    def _with_contact(self, ticket: Record) -> Record:
        contact = self._desk.contacts.table.get(ticket["contactId"])
        if contact is None:
            return ticket
        keys = ("id", "firstName", "lastName", "email", "phone", "mobile", "type", "isSpam")
        return {**ticket, "contact": {key: contact.get(key) for key in keys} | {"account": None}}

    def _with_included(self, call: ApiCall, ticket: Record) -> Record:
        wanted = {part.strip() for part in call.query("include").split(",") if part}
        if wanted - _INCLUDES:
            raise unprocessable("The value passed for the 'include' query parameter is invalid.")
        shown = dict(ticket)
        if "contacts" in wanted:
            shown = self._with_contact(shown)
        if "departments" in wanted and (dept := self._desk.departments.get(ticket["departmentId"])):
            shown["department"] = {"id": dept["id"], "name": dept["name"]}
        if "assignee" in wanted:
            agent = self._desk.agents.get(str(ticket["assigneeId"]))
            shown["assignee"] = agent and {
                key: agent.get(key) for key in ("id", "firstName", "lastName", "email")
            }
        return shown


def _resolution(ticket: Record) -> Record:
    author = {"id": AGENT["id"], "firstName": AGENT["firstName"], "lastName": AGENT["lastName"]}
    return {
        "content": ticket["resolution"],
        "modifiedTime": ticket["modifiedTime"],
        "author": {**author, "email": AGENT["email"], "photoURL": None},
    }


def _tag_names(body: dict[str, Any]) -> list[str]:
    names = body.get("tags")
    if not isinstance(names, list) or not all(
        isinstance(name, str) and len(name) >= 3 for name in names
    ):
        raise invalid_data(("tags", "invalid"))
    return names


def _without(row: Record, keys: tuple[str, ...]) -> Record:
    return {key: value for key, value in row.items() if key not in keys}
