"""Serve Zoho Desk under `/desk/api/v1`, its webhook keys, and the admin calls for tickets.

Source of paths, scopes and credits: Zoho's OpenAPI for Desk v1.0 and its page on API credits.
"""

from __future__ import annotations

from aiohttp import web

from services.zoho_sandbox.desk.dialect import DeskDialect, with_error_envelope
from services.zoho_sandbox.desk.organization import DeskOrg
from services.zoho_sandbox.desk.other_endpoints import (
    ConversationEndpoints,
    DeskContactEndpoints,
    DeskSettingEndpoints,
)
from services.zoho_sandbox.desk.settings import DeskFieldNames
from services.zoho_sandbox.desk.staff import DeskStaff
from services.zoho_sandbox.desk.ticket_endpoints import TicketEndpoints
from services.zoho_sandbox.server.admin import AdminRoutes
from services.zoho_sandbox.server.routes import ApiCall, EndpointHandler, Routes
from services.zoho_sandbox.server.world import World

_TICKETS, _CONTACTS = "Desk.tickets", "Desk.contacts"
_SEARCH, _SETTINGS, _BASIC = "Desk.search.READ", "Desk.settings.READ", "Desk.basic.READ"


def add_routes(app: web.Application, world: World) -> None:
    desk = DeskOrg(world, DeskFieldNames())
    routes = _DeskRoutes(
        Routes(app, world, product="desk", prefix="/desk/api/v1", dialect=DeskDialect(world))
    )
    _ticket_routes(routes, TicketEndpoints(desk))
    _conversation_routes(routes, ConversationEndpoints(desk))
    _contact_routes(routes, DeskContactEndpoints(desk))
    _setting_routes(routes, DeskSettingEndpoints(desk))
    routes.close()
    DeskStaff(desk).add_routes(AdminRoutes(app))

    async def jwks(request: web.Request) -> web.Response:
        return web.json_response(desk.webhooks.key.jwks())

    app.router.add_get("/.well-known/jwks.json", jwks)
    app.router.add_get("/desk/.well-known/jwks.json", jwks)


class _DeskRoutes:
    """Adds endpoints that answer Desk's errors, and notes the weight for the quota header."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes

    def add(
        self,
        method: str,
        path: str,
        operation: str,
        handler: EndpointHandler,
        *scope: str,
        weight: int = 1,
        paged: bool = False,
        organization: bool = True,
    ) -> None:
        """Add an endpoint. A `paged` call costs 3 credits, and more for a later page."""

        def cost(call: ApiCall) -> int:
            call.notes["weight"] = _list_weight(call) if paged else weight
            return int(call.notes["weight"])

        self._routes.add(
            method,
            path,
            operation,
            with_error_envelope(handler),
            scope=scope,
            weight=cost,
            organization=organization,
        )

    def close(self) -> None:
        self._routes.close()


def _ticket_routes(routes: _DeskRoutes, endpoints: TicketEndpoints) -> None:
    read, change, make = f"{_TICKETS}.READ", f"{_TICKETS}.UPDATE", f"{_TICKETS}.CREATE"
    path = "/tickets/{id:[0-9]+}"
    routes.add("POST", "/tickets", "create_ticket", endpoints.create, make)
    routes.add("GET", "/tickets", "list_tickets", endpoints.list_tickets, read, paged=True)
    routes.add(
        "GET", "/tickets/search", "search_tickets", endpoints.search, read, _SEARCH, paged=True
    )
    routes.add("POST", "/tickets/moveToTrash", "trash_tickets", endpoints.trash, change, weight=6)
    routes.add("POST", "/closeTickets", "close_tickets", endpoints.close_many, change)
    routes.add("GET", path, "get_ticket", endpoints.get, read)
    routes.add("PATCH", path, "update_ticket", endpoints.update, change)
    routes.add("POST", f"{path}/move", "move_ticket", endpoints.move, change)
    routes.add("POST", f"{path}/merge", "merge_tickets", endpoints.merge, change)
    routes.add("GET", f"{path}/History", "get_ticket_history", endpoints.history, read, paged=True)
    routes.add("GET", f"{path}/resolution", "get_resolution", endpoints.resolution, read)
    routes.add("PATCH", f"{path}/resolution", "update_resolution", endpoints.set_resolution, change)
    routes.add(
        "DELETE", f"{path}/resolution", "delete_resolution", endpoints.clear_resolution, change
    )
    routes.add("GET", f"{path}/tags", "get_ticket_tags", endpoints.tags, read)
    routes.add("POST", f"{path}/associateTag", "associate_tag", endpoints.associate_tag, make)
    routes.add("POST", f"{path}/dissociateTag", "dissociate_tag", endpoints.dissociate_tag, make)
    routes.add(
        "GET", "/contacts/{id:[0-9]+}/tickets", "get_tickets_of_contact", endpoints.of_contact,
        read, f"{_CONTACTS}.READ", paged=True,
    )  # fmt: skip


def _conversation_routes(routes: _DeskRoutes, endpoints: ConversationEndpoints) -> None:
    comments = "/tickets/{id:[0-9]+}/comments"
    path = comments + "/{comment_id:[0-9]+}"
    read, change = f"{_TICKETS}.READ", f"{_TICKETS}.UPDATE"
    routes.add("POST", comments, "create_comment", endpoints.comment, change)
    routes.add("GET", comments, "list_comments", endpoints.comments, read, paged=True)
    routes.add("GET", path, "get_comment", endpoints.get_comment, read)
    routes.add("PATCH", path, "update_comment", endpoints.update_comment, change)
    routes.add("DELETE", path, "delete_comment", endpoints.delete_comment, change)
    files = "/tickets/{id:[0-9]+}/attachments"
    file = files + "/{attachment_id:[0-9]+}"
    routes.add("GET", files, "list_attachments", endpoints.attachments, read, paged=True)
    routes.add("DELETE", file, "delete_attachment", endpoints.delete_attachment, change)
    threads = "/tickets/{id:[0-9]+}/threads"
    routes.add("GET", threads, "list_threads", endpoints.threads, read, paged=True)


def _contact_routes(routes: _DeskRoutes, endpoints: DeskContactEndpoints) -> None:
    read, change = f"{_CONTACTS}.READ", f"{_CONTACTS}.UPDATE"
    path = "/contacts/{id:[0-9]+}"
    routes.add("POST", "/contacts", "create_contact", endpoints.create, f"{_CONTACTS}.CREATE")
    routes.add("GET", "/contacts", "list_contacts", endpoints.list_contacts, read, paged=True)
    routes.add(
        "GET", "/contacts/search", "search_contacts", endpoints.search, read, _SEARCH, paged=True
    )
    routes.add("POST", "/contacts/moveToTrash", "trash_contacts", endpoints.trash, change, weight=6)
    routes.add("GET", path, "get_contact", endpoints.get, read)
    routes.add("PATCH", path, "update_contact", endpoints.update, change)


def _setting_routes(routes: _DeskRoutes, endpoints: DeskSettingEndpoints) -> None:
    for path in ("/organizations", "/accessibleOrganizations"):
        routes.add(
            "GET", path, "list_organizations", endpoints.organizations, _BASIC, organization=False
        )
    routes.add("GET", "/departments", "list_departments", endpoints.departments, _BASIC, paged=True)
    routes.add("GET", "/departments/{id:[0-9]+}", "get_department", endpoints.department, _BASIC)
    routes.add("GET", "/agents", "list_agents", endpoints.agents, _BASIC, paged=True)
    routes.add("GET", "/myinfo", "get_my_info", endpoints.my_info, _BASIC)
    routes.add("GET", "/organizationFields", "list_fields", endpoints.fields, _SETTINGS, paged=True)
    routes.add("GET", "/fields", "list_fields", endpoints.fields, _BASIC, paged=True)
    hooks = "Desk.events|Desk.webhooks"
    create, read = (
        "|".join(f"{stem}.{right}" for stem in hooks.split("|")) for right in ("CREATE", "READ")
    )
    routes.add("POST", "/webhooks", "create_webhook", endpoints.create_webhook, create)
    routes.add("GET", "/webhooks", "list_webhooks", endpoints.list_webhooks, read, paged=True)
    routes.add("GET", "/webhooks/{id:[0-9]+}", "get_webhook", endpoints.get_webhook, read)
    routes.add("PATCH", "/webhooks/{id:[0-9]+}", "update_webhook", endpoints.update_webhook, create)
    routes.add(
        "DELETE", "/webhooks/{id:[0-9]+}", "delete_webhook", endpoints.delete_webhook, create
    )


def _list_weight(call: ApiCall) -> int:
    """Return the cost of a list: 3 credits up to row 2,000, then 5."""
    start = call.query("from", "0")
    return 3 if not start.isdigit() or int(start) <= 2000 else 5
