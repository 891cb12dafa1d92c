"""Serve contacts, comments, threads, departments, agents, fields, organizations and webhooks."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from services.zoho_sandbox.desk.bodies import BOOLEAN, IDS, OBJECT, TextRule, check
from services.zoho_sandbox.desk.conversations import as_answered, summary
from services.zoho_sandbox.desk.dialect import answer, data
from services.zoho_sandbox.desk.errors import invalid_data, not_found, unprocessable
from services.zoho_sandbox.desk.organization import AGENT, DeskOrg
from services.zoho_sandbox.desk.search import (
    CONTACT_PARAMETERS,
    bounded,
    check_parameters,
    search_contacts,
)
from services.zoho_sandbox.server.routes import ApiCall

_WEBHOOK: dict[str, TextRule] = {
    "url": TextRule(100),
    "name": TextRule(100),
    "description": TextRule(3000),
    "subscriptions": OBJECT,
    "includeEventsFrom": TextRule(kind="list"),
    "isEnabled": BOOLEAN,
    "ignoreSourceId": TextRule(100),
}


class DeskContactEndpoints:
    """Handlers of calls on Desk's contacts, which are not CRM's."""

    def __init__(self, desk: DeskOrg) -> None:
        self._contacts = desk.contacts

    async def create(self, call: ApiCall) -> web.StreamResponse:
        return answer(self._contacts.create(call.json()))

    async def get(self, call: ApiCall) -> web.StreamResponse:
        return answer(self._contacts.get(call.path("id")))

    async def update(self, call: ApiCall) -> web.StreamResponse:
        return answer(self._contacts.update(call.path("id"), call.json()))

    async def list_contacts(self, call: ApiCall) -> web.StreamResponse:
        check_parameters(
            call.request.query, {"include", "viewId", "limit", "from", "sortBy", "orgId"}
        )
        start, limit = bounded(call.request.query, first=1, limit=10, most=99)
        rows = [row for row in self._contacts.table.searched() if not row["isTrashed"]]
        return data(rows[start - 1 : start - 1 + limit])

    async def search(self, call: ApiCall) -> web.StreamResponse:
        """Search from row 0. Answers 204 without a match. Real Desk's index lags by minutes."""
        check_parameters(call.request.query, CONTACT_PARAMETERS)
        query = {k: v for k, v in call.request.query.items() if k not in ("orgId", "include")}
        rows, count = search_contacts(self._contacts.table.searched(), query)
        return data(rows, count=count)

    async def trash(self, call: ApiCall) -> web.StreamResponse:
        body = check(call.json(), {"contactIds": IDS}, required=("contactIds",))
        self._contacts.trash([str(contact_id) for contact_id in body["contactIds"]])
        return web.Response(status=204)


class ConversationEndpoints:
    """Handlers of calls on a ticket's comments and threads."""

    def __init__(self, desk: DeskOrg) -> None:
        self._tickets = desk.tickets
        self._conversations = desk.conversations

    async def comment(self, call: ApiCall) -> web.StreamResponse:
        ticket = self._tickets.get(call.path("id"))
        return answer(as_answered(self._conversations.comment(ticket, call.json(), actor=AGENT)))

    async def comments(self, call: ApiCall) -> web.StreamResponse:
        """List from row 1, at most 100, oldest first unless `sortBy=-commentedTime`."""
        check_parameters(call.request.query, {"include", "from", "limit", "sortBy", "orgId"})
        start, limit = bounded(call.request.query, first=1, limit=10, most=100)
        rows = self._conversations.comments_of(self._tickets.get(call.path("id"))["id"])
        if call.query("sortBy", "commentedTime").startswith("-"):
            rows.reverse()
        return data(rows[start - 1 : start - 1 + limit])

    async def get_comment(self, call: ApiCall) -> web.StreamResponse:
        return answer(self._conversations.get_comment(call.path("id"), call.path("comment_id")))

    async def update_comment(self, call: ApiCall) -> web.StreamResponse:
        ticket_id, comment_id = call.path("id"), call.path("comment_id")
        return answer(self._conversations.change_comment(ticket_id, comment_id, call.json()))

    async def delete_comment(self, call: ApiCall) -> web.StreamResponse:
        row = self._conversations.get_comment(call.path("id"), call.path("comment_id"))
        self._conversations.comments.remove(row["id"])
        return web.Response(status=200)

    async def attachments(self, call: ApiCall) -> web.StreamResponse:
        """List from row 1, at most 100."""
        check_parameters(call.request.query, {"include", "from", "limit", "sortBy", "orgId"})
        start, limit = bounded(call.request.query, first=1, limit=10, most=100)
        rows = self._conversations.attachments_of(self._tickets.get(call.path("id"))["id"])
        page = rows[start - 1 : start - 1 + limit]
        return data([{k: v for k, v in row.items() if k != "ticketId"} for row in page])

    async def delete_attachment(self, call: ApiCall) -> web.StreamResponse:
        row = self._conversations.get_attachment(call.path("id"), call.path("attachment_id"))
        self._conversations.attachments.remove(row["id"])
        return web.Response(status=200)

    async def threads(self, call: ApiCall) -> web.StreamResponse:
        """List summaries from row 1, at most 200, newest first."""
        check_parameters(call.request.query, {"from", "limit", "sortBy", "orgId"})
        start, limit = bounded(call.request.query, first=1, limit=10, most=200)
        rows = self._conversations.threads_of(self._tickets.get(call.path("id"))["id"])
        return data([summary(row) for row in rows[start - 1 : start - 1 + limit]])


class DeskSettingEndpoints:
    """Handlers of calls on the portal itself and on its webhooks."""

    def __init__(self, desk: DeskOrg) -> None:
        self._desk = desk

    async def organizations(self, call: ApiCall) -> web.StreamResponse:
        row = {
            "id": self._desk.world.settings.desk_org_id,
            "companyName": "Sandbox",
            "portalName": "sandbox",
            "edition": "ENTERPRISE",
            "isDefault": True,
        }
        return data([row])

    async def departments(self, call: ApiCall) -> web.StreamResponse:
        return data(list(self._desk.departments))

    async def department(self, call: ApiCall) -> web.StreamResponse:
        row = self._desk.departments.get(call.path("id"))
        if row is None:
            raise not_found()
        return answer(row)

    async def agents(self, call: ApiCall) -> web.StreamResponse:
        return data(list(self._desk.agents))

    async def my_info(self, call: ApiCall) -> web.StreamResponse:
        return answer(AGENT)

    async def fields(self, call: ApiCall) -> web.StreamResponse:
        if call.query("module") not in ("tickets", "contacts"):
            raise unprocessable("The value passed for the 'module' query parameter is invalid.")
        names = self._desk.custom_fields if call.query("module") == "tickets" else ()
        rows = [
            {
                "id": f"20460000000009{index:04d}",
                "apiName": name,
                "displayLabel": name.removeprefix("cf_").replace("_", " "),
                "type": "Text",
                "maxLength": 255,
                "isCustomField": True,
                "isMandatory": False,
            }
            for index, name in enumerate(names)
        ]
        status = {"id": "204600000000080001", "apiName": "status", "displayLabel": "Status"}
        return answer({"data": [{**status, "type": "Picklist", "isCustomField": False}, *rows]})

    async def create_webhook(self, call: ApiCall) -> web.StreamResponse:
        """Create a webhook. It is refused when the URL does not answer the handshake."""
        body = check(call.json(), _WEBHOOK, required=("url", "subscriptions"))
        if not await self._desk.webhooks.answers(body["url"]):
            raise invalid_data(("url", "invalid"))
        now = self._desk.world.clock.desk_time()
        more: dict[str, Any] = {"type": "CUSTOMER_WEBHOOK", "createdBy": AGENT["id"]}
        row = {"isEnabled": True, "name": None, "createdTime": now, "modifiedTime": now}
        return answer(self._desk.hooks.add({**row, **body, **more}))

    async def list_webhooks(self, call: ApiCall) -> web.StreamResponse:
        return data(self._desk.webhooks.listed())

    async def get_webhook(self, call: ApiCall) -> web.StreamResponse:
        row = self._desk.hooks.get(call.path("id"))
        if row is None:
            raise not_found()
        return answer(row)

    async def update_webhook(self, call: ApiCall) -> web.StreamResponse:
        row = self._desk.hooks.get(call.path("id"))
        if row is None:
            raise not_found()
        body = check(call.json(), _WEBHOOK)
        if body.get("url", row["url"]) != row["url"] and not await self._desk.webhooks.answers(
            body["url"]
        ):
            raise invalid_data(("url", "invalid"))
        row.update(body, modifiedTime=self._desk.world.clock.desk_time())
        return answer(self._desk.hooks.save(row))

    async def delete_webhook(self, call: ApiCall) -> web.StreamResponse:
        if self._desk.hooks.get(call.path("id")) is None:
            raise not_found()
        self._desk.hooks.remove(call.path("id"))
        return web.Response(status=200)
