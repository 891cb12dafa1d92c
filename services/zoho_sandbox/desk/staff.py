"""Serve the admin calls for what agents and customers do to tickets in Zoho's own screens."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from services.zoho_sandbox.desk.organization import OTHER_DEPARTMENT_ID, STAFF, DeskOrg
from services.zoho_sandbox.server.admin import AdminRoutes, NoSuchRecord
from services.zoho_sandbox.server.tables import Record


class DeskStaff:
    """Admin handlers under `/_sandbox/desk/tickets/{id}`."""

    def __init__(self, desk: DeskOrg) -> None:
        self._desk = desk

    def add_routes(self, routes: AdminRoutes) -> None:
        for action, handler in (
            ("close", self.close),
            ("reopen", self.reopen),
            ("reply", self.reply),
            ("move", self.move),
            ("merge", self.merge),
            ("trash", self.trash),
            ("comment", self.comment),
            ("attach", self.attach),
            ("edit", self.edit),
        ):
            routes.add("POST", "/desk/tickets/{id}/" + action, handler)

    async def close(self, request: web.Request, body: dict[str, Any]) -> Any:
        """Close: `{resolution?}`, as HTML. Without one it stays empty, as agents often leave it."""
        ticket = self._ticket(request)
        return self._desk.tickets.close(
            ticket["id"], actor=STAFF, resolution=body.get("resolution")
        )

    async def reopen(self, request: web.Request, body: dict[str, Any]) -> Any:
        return self._desk.tickets.reopen(self._ticket(request)["id"], actor=STAFF)

    async def reply(self, request: web.Request, body: dict[str, Any]) -> Any:
        """Add a mail: `{content?, direction?}`, `out` from the agent or `in` from the customer.

        A customer's reply reopens a ticket that is closed or on hold.
        """
        ticket, direction = self._ticket(request), body.get("direction", "out")
        author = STAFF if direction == "out" else self._desk.customer_of(ticket)
        content = str(body.get("content", "A reply."))
        thread = self._desk.conversations.reply(ticket, content, author=author, direction=direction)
        if direction == "in" and ticket["statusType"] != "Open":
            self._desk.tickets.reopen(ticket["id"], actor=author)
        return thread

    async def move(self, request: web.Request, body: dict[str, Any]) -> Any:
        """Move to another department: `{departmentId?}`. The default is the second one."""
        department_id = str(body.get("departmentId", OTHER_DEPARTMENT_ID))
        return self._desk.tickets.move(self._ticket(request)["id"], department_id, actor=STAFF)

    async def merge(self, request: web.Request, body: dict[str, Any]) -> Any:
        """Merge this ticket into another, `{into}`, or without it into a new one."""
        child = self._ticket(request)
        into = body.get("into") or self._new_like(child)["id"]
        return self._desk.tickets.merge(into, [child["id"]], actor=STAFF)

    async def trash(self, request: web.Request, body: dict[str, Any]) -> Any:
        ticket = self._ticket(request)
        self._desk.tickets.trash([ticket["id"]], actor=STAFF)
        return ticket

    async def comment(self, request: web.Request, body: dict[str, Any]) -> Any:
        """Add a comment: `{content?, isPublic?}`."""
        comment = {
            "content": body.get("content", "A comment."),
            "isPublic": body.get("isPublic", False),
        }
        return self._desk.conversations.comment(self._ticket(request), comment, actor=STAFF)

    async def attach(self, request: web.Request, body: dict[str, Any]) -> Any:
        """Attach a file: `{name?}`."""
        name = str(body.get("name", "screenshot.png"))
        return self._desk.conversations.attach(self._ticket(request), name, actor=STAFF)

    async def edit(self, request: web.Request, body: dict[str, Any]) -> Any:
        """Change any fields of the ticket, such as status, priority or assignee."""
        return self._desk.tickets.update(self._ticket(request)["id"], body, actor=STAFF)

    def _ticket(self, request: web.Request) -> Record:
        ticket = self._desk.tickets.table.get(request.match_info["id"])
        if ticket is None:
            raise NoSuchRecord("no such ticket")
        return ticket

    def _new_like(self, like: Record) -> Record:
        body = {key: like[key] for key in ("departmentId", "contactId")}
        return self._desk.tickets.create({**body, "subject": "Merged by staff"}, actor=STAFF)
