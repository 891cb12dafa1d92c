"""Zoho Desk: `/desk/api/v1/…`, its webhook keys, and what staff do to tickets.

Source of paths, scopes and credits: crm-desk §2.1 to §2.6 and Zoho's OpenAPI for Desk v1.0.
"""

from __future__ import annotations

from aiohttp import web

from services.zoho_sandbox.desk.dialect import DeskDialect, guarded
from services.zoho_sandbox.desk.organization import DeskOrg
from services.zoho_sandbox.desk.other_endpoints import (
    ContactCalls,
    ConversationCalls,
    DeskSettingEndpoints,
)
from services.zoho_sandbox.desk.settings import DeskFieldNames
from services.zoho_sandbox.desk.staff import DeskStaff
from services.zoho_sandbox.desk.ticket_endpoints import TicketCalls
from services.zoho_sandbox.server.admin import AdminRoutes
from services.zoho_sandbox.server.routes import Call, EndpointHandler, Routes
from services.zoho_sandbox.server.world import World

_TICKETS, _CONTACTS = "Desk.tickets", "Desk.contacts"
_SEARCH, _SETTINGS, _BASIC = "Desk.search.READ", "Desk.settings.READ", "Desk.basic.READ"


def add_routes(app: web.Application, world: World) -> None:
    desk = DeskOrg(world, DeskFieldNames())
    routes = _DeskRoutes(
        Routes(app, world, product="desk", prefix="/desk/api/v1", dialect=DeskDialect(world))
    )
    _ticket_routes(routes, TicketCalls(desk))
    _conversation_routes(routes, ConversationCalls(desk))
    _contact_routes(routes, ContactCalls(desk))
    _setting_routes(routes, DeskSettingEndpoints(desk))
    routes.close()
    DeskStaff(desk).add_routes(AdminRoutes(app))

    async def jwks(request: web.Request) -> web.Response:
        return web.json_response(desk.webhooks.key.jwks())

    app.router.add_get("/.well-known/jwks.json", jwks)
    app.router.add_get("/desk/.well-known/jwks.json", jwks)


class _DeskRoutes:
    """Adds endpoints with Desk's errors caught, and notes the weight for the quota header."""

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
        """`paged` calls cost 3 credits, and more the further they reach."""

        def cost(call: Call) -> int:
            call.notes["weight"] = _list_weight(call) if paged else weight
            return int(call.notes["weight"])

        self._routes.add(
            method,
            path,
            operation,
            guarded(handler),
            scope=scope,
            weight=cost,
            organization=organization,
        )

    def close(self) -> None:
        self._routes.close()


def _ticket_routes(routes: _DeskRoutes, calls: TicketCalls) -> None:
    read, change, make = f"{_TICKETS}.READ", f"{_TICKETS}.UPDATE", f"{_TICKETS}.CREATE"
    one = "/tickets/{id:[0-9]+}"
    routes.add("POST", "/tickets", "create_ticket", calls.create, make)
    routes.add("GET", "/tickets", "list_tickets", calls.list_tickets, read, paged=True)
    routes.add("GET", "/tickets/search", "search_tickets", calls.search, read, _SEARCH, paged=True)
    routes.add("POST", "/tickets/moveToTrash", "trash_tickets", calls.trash, change, weight=6)
    routes.add("POST", "/closeTickets", "close_tickets", calls.close_many, change)
    routes.add("GET", one, "get_ticket", calls.get, read)
    routes.add("PATCH", one, "update_ticket", calls.update, change)
    routes.add("POST", f"{one}/move", "move_ticket", calls.move, change)
    routes.add("POST", f"{one}/merge", "merge_tickets", calls.merge, change)
    routes.add("GET", f"{one}/History", "get_ticket_history", calls.history, read, paged=True)
    routes.add("GET", f"{one}/resolution", "get_resolution", calls.resolution, read)
    routes.add("PATCH", f"{one}/resolution", "update_resolution", calls.set_resolution, change)
    routes.add("DELETE", f"{one}/resolution", "delete_resolution", calls.clear_resolution, change)
    routes.add("GET", f"{one}/tags", "get_ticket_tags", calls.tags, read)
    routes.add("POST", f"{one}/associateTag", "associate_tag", calls.associate_tag, make)
    routes.add("POST", f"{one}/dissociateTag", "dissociate_tag", calls.dissociate_tag, make)
    routes.add(
        "GET", "/contacts/{id:[0-9]+}/tickets", "get_tickets_of_contact", calls.of_contact,
        read, f"{_CONTACTS}.READ", paged=True,
    )  # fmt: skip


def _conversation_routes(routes: _DeskRoutes, calls: ConversationCalls) -> None:
    comments = "/tickets/{id:[0-9]+}/comments"
    one = comments + "/{comment_id:[0-9]+}"
    read, change = f"{_TICKETS}.READ", f"{_TICKETS}.UPDATE"
    routes.add("POST", comments, "create_comment", calls.comment, change)
    routes.add("GET", comments, "list_comments", calls.comments, read, paged=True)
    routes.add("GET", one, "get_comment", calls.get_comment, read)
    routes.add("PATCH", one, "update_comment", calls.update_comment, change)
    routes.add("DELETE", one, "delete_comment", calls.delete_comment, change)
    threads = "/tickets/{id:[0-9]+}/threads"
    routes.add("GET", threads, "list_threads", calls.threads, read, paged=True)


def _contact_routes(routes: _DeskRoutes, calls: ContactCalls) -> None:
    read, change = f"{_CONTACTS}.READ", f"{_CONTACTS}.UPDATE"
    one = "/contacts/{id:[0-9]+}"
    routes.add("POST", "/contacts", "create_contact", calls.create, f"{_CONTACTS}.CREATE")
    routes.add("GET", "/contacts", "list_contacts", calls.list_contacts, read, paged=True)
    routes.add(
        "GET", "/contacts/search", "search_contacts", calls.search, read, _SEARCH, paged=True
    )
    routes.add("POST", "/contacts/moveToTrash", "trash_contacts", calls.trash, change, weight=6)
    routes.add("GET", one, "get_contact", calls.get, read)
    routes.add("PATCH", one, "update_contact", calls.update, change)


def _setting_routes(routes: _DeskRoutes, calls: DeskSettingEndpoints) -> None:
    for path in ("/organizations", "/accessibleOrganizations"):
        routes.add(
            "GET", path, "list_organizations", calls.organizations, _BASIC, organization=False
        )
    routes.add("GET", "/departments", "list_departments", calls.departments, _BASIC, paged=True)
    routes.add("GET", "/departments/{id:[0-9]+}", "get_department", calls.department, _BASIC)
    routes.add("GET", "/agents", "list_agents", calls.agents, _BASIC, paged=True)
    routes.add("GET", "/myinfo", "get_my_info", calls.my_info, _BASIC)
    routes.add("GET", "/organizationFields", "list_fields", calls.fields, _SETTINGS, paged=True)
    routes.add("GET", "/fields", "list_fields", calls.fields, _BASIC, paged=True)
    hooks = "Desk.events|Desk.webhooks"
    create, read = (
        "|".join(f"{stem}.{right}" for stem in hooks.split("|")) for right in ("CREATE", "READ")
    )
    routes.add("POST", "/webhooks", "create_webhook", calls.create_webhook, create)
    routes.add("GET", "/webhooks", "list_webhooks", calls.list_webhooks, read, paged=True)
    routes.add("GET", "/webhooks/{id:[0-9]+}", "get_webhook", calls.get_webhook, read)
    routes.add("PATCH", "/webhooks/{id:[0-9]+}", "update_webhook", calls.update_webhook, create)
    routes.add("DELETE", "/webhooks/{id:[0-9]+}", "delete_webhook", calls.delete_webhook, create)


def _list_weight(call: Call) -> int:
    """3 credits up to row 2,000, then 5."""
    start = call.query("from", "0")
    return 3 if not start.isdigit() or int(start) <= 2000 else 5
