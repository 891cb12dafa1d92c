"""Serve Zoho CRM under `/crm/{version}`, and the admin calls for what staff do to contacts.

Source of paths, scopes and credits: Zoho's OpenAPI for CRM v8 and its page "API limits".
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from services.zoho_sandbox.crm.conditions import QueryError
from services.zoho_sandbox.crm.coql import parse_query
from services.zoho_sandbox.crm.dialect import CrmDialect, CrmError
from services.zoho_sandbox.crm.organization import CrmOrg
from services.zoho_sandbox.crm.record_endpoints import RecordEndpoints
from services.zoho_sandbox.crm.records import STAFF_USER
from services.zoho_sandbox.crm.setting_endpoints import (
    CrmSettingEndpoints,
    NoteEndpoints,
    WatchEndpoints,
)
from services.zoho_sandbox.crm.settings import CrmFieldNames
from services.zoho_sandbox.crm.tag_endpoints import TagEndpoints, tag_credits
from services.zoho_sandbox.server.admin import AdminRoutes, NoSuchRecord
from services.zoho_sandbox.server.routes import ApiCall, EndpointHandler, Routes
from services.zoho_sandbox.server.world import World

_CONTACTS = "ZohoCRM.modules.contacts"
_NOTES = "ZohoCRM.modules.notes"
_TAGS = "ZohoCRM.modules.contacts.WRITE|ZohoCRM.modules.contacts.CREATE|ZohoCRM.settings.tags.ALL"
_WATCH = "ZohoCRM.notifications"


def add_routes(app: web.Application, world: World) -> None:
    crm = CrmOrg(world, CrmFieldNames())
    routes = Routes(
        app, world, product="crm", prefix="/crm/{version:v[0-9.]+}", dialect=CrmDialect(world)
    )
    _record_routes(routes, RecordEndpoints(crm))
    _tag_routes(routes, TagEndpoints(crm))
    _note_routes(routes, NoteEndpoints(crm))
    _other_routes(routes, CrmSettingEndpoints(crm), WatchEndpoints(crm))
    routes.close()
    CrmStaff(crm).add_routes(AdminRoutes(app))


def _record_routes(routes: Routes, endpoints: RecordEndpoints) -> None:
    def write(method: str, path: str, operation: str, handler: EndpointHandler, right: str) -> None:
        routes.add(
            method,
            path,
            operation,
            with_error_envelope(handler),
            scope=f"{_CONTACTS}.{right}",
            weight=_row_credits,
            heavy=_is_batch,
        )

    def read(path: str, operation: str, handler: EndpointHandler, *more: str) -> None:
        scope = (f"{_CONTACTS}.READ", *more)
        routes.add("GET", path, operation, with_error_envelope(handler), scope=scope)

    write("POST", "/Contacts/upsert", "upsert_records", endpoints.upsert, "CREATE")
    write("POST", "/Contacts", "insert_records", endpoints.insert, "CREATE")
    write("PUT", "/Contacts", "update_records", endpoints.update, "UPDATE")
    write("PUT", "/Contacts/{id:[0-9]+}", "update_record", endpoints.update_one, "UPDATE")
    read("/Contacts/search", "search_records", endpoints.search, "ZohoSearch.securesearch.READ")
    read("/Contacts/deleted", "get_deleted_records", endpoints.deleted)
    read("/Contacts", "get_records", endpoints.list_records)
    read("/Contacts/{id:[0-9]+}", "get_record", endpoints.get)
    delete = with_error_envelope(endpoints.delete)
    routes.add("DELETE", "/Contacts", "delete_records", delete, scope=f"{_CONTACTS}.DELETE")
    routes.add(
        "DELETE", "/Contacts/{id:[0-9]+}", "delete_record", delete, scope=f"{_CONTACTS}.DELETE"
    )
    routes.add(
        "POST",
        "/coql",
        "coql",
        with_error_envelope(endpoints.coql),
        scope=("ZohoCRM.coql.READ", f"{_CONTACTS}.READ"),
        weight=_coql_credits,
        heavy=True,
    )


def _tag_routes(routes: Routes, endpoints: TagEndpoints) -> None:
    for operation, handler in (("add_tags", endpoints.add), ("remove_tags", endpoints.remove)):
        for path in ("/Contacts/actions", "/Contacts/{id:[0-9]+}/actions"):
            routes.add(
                "POST",
                f"{path}/{operation}",
                operation,
                with_error_envelope(handler),
                scope=_TAGS,
                weight=_guarded_credits(tag_credits),
            )
    routes.add(
        "GET",
        "/settings/tags",
        "get_tags",
        with_error_envelope(endpoints.list_tags),
        scope="ZohoCRM.settings.tags.READ",
    )
    routes.add(
        "POST",
        "/settings/tags",
        "create_tags",
        with_error_envelope(endpoints.create),
        scope="ZohoCRM.settings.tags.CREATE",
    )


def _note_routes(routes: Routes, endpoints: NoteEndpoints) -> None:
    for path in ("/Notes", "/Contacts/{id:[0-9]+}/Notes"):
        routes.add(
            "POST",
            path,
            "create_notes",
            with_error_envelope(endpoints.insert),
            scope=f"{_NOTES}.CREATE",
            weight=_row_credits,
        )
        routes.add(
            "GET",
            path,
            "get_notes",
            with_error_envelope(endpoints.list_notes),
            scope=f"{_NOTES}.READ",
        )
    for path in ("/Notes", "/Notes/{note_id:[0-9]+}"):
        routes.add(
            "PUT",
            path,
            "update_notes",
            with_error_envelope(endpoints.update),
            scope=f"{_NOTES}.UPDATE",
        )
        routes.add(
            "DELETE",
            path,
            "delete_notes",
            with_error_envelope(endpoints.delete),
            scope=f"{_NOTES}.DELETE",
        )
    routes.add(
        "GET",
        "/Notes/{note_id:[0-9]+}",
        "get_note",
        with_error_envelope(endpoints.get),
        scope=f"{_NOTES}.READ",
    )


def _other_routes(routes: Routes, settings: CrmSettingEndpoints, watch: WatchEndpoints) -> None:
    routes.add("GET", "/org", "get_org", settings.org, scope="ZohoCRM.org.READ")
    routes.add("GET", "/users", "get_users", settings.users, scope="ZohoCRM.users.READ")
    routes.add(
        "GET",
        "/settings/fields",
        "get_fields",
        with_error_envelope(settings.fields),
        scope="ZohoCRM.settings.fields.READ",
    )
    for path, operation, handler in (
        ("/settings/modules", "get_modules", settings.modules),
        ("/settings/modules/{module}", "get_module", settings.module),
        ("/settings/related_lists", "get_related_lists", settings.related_lists),
    ):
        scope = f"ZohoCRM.settings.{path.split('/')[2]}.READ"
        routes.add("GET", path, operation, with_error_envelope(handler), scope=scope)
    for method, operation, handler, right in (
        ("POST", "enable_notifications", watch.enable, "CREATE"),
        ("PUT", "update_notifications", watch.change, "UPDATE"),
        ("PATCH", "patch_notifications", watch.change, "UPDATE"),
        ("GET", "get_notifications", watch.list_channels, "READ"),
        ("DELETE", "disable_notifications", watch.disable, "DELETE"),
    ):
        scope = f"{_WATCH}.{right}"
        routes.add(method, "/actions/watch", operation, with_error_envelope(handler), scope=scope)


class CrmStaff:
    """Actions of people on contacts in Zoho's screens."""

    def __init__(self, crm: CrmOrg) -> None:
        self._crm = crm

    def add_routes(self, routes: AdminRoutes) -> None:
        routes.add("POST", "/crm/contacts/{id}/edit", self.edit)
        routes.add("POST", "/crm/contacts/{id}/merge", self.merge)
        routes.add("POST", "/crm/contacts/{id}/delete", self.delete)

    async def edit(self, request: web.Request, body: dict[str, Any]) -> Any:
        """Change the fields of the body. `Tag` may list names."""
        contact = self._crm.contacts.get(request.match_info["id"])
        if contact is None:
            raise NoSuchRecord("no such contact")
        if "Tag" in body:
            tags = [{"name": tag} if isinstance(tag, str) else tag for tag in body["Tag"]]
            body = {**body, "Tag": tags}
        self._crm.contacts.edit(contact, body, actor=STAFF_USER)
        return contact

    async def merge(self, request: web.Request, body: dict[str, Any]) -> Any:
        """Merge this contact into another: `{"into": id}`."""
        if not self._crm.contacts.merge(body["into"], request.match_info["id"], actor=STAFF_USER):
            raise NoSuchRecord("no such contacts to merge")
        return self._crm.contacts.get(body["into"])

    async def delete(self, request: web.Request, body: dict[str, Any]) -> Any:
        if not self._crm.contacts.delete(request.match_info["id"], actor=STAFF_USER):
            raise NoSuchRecord("no such contact")
        return {"deleted": True}


def with_error_envelope(handler: EndpointHandler) -> EndpointHandler:
    async def answered(call: ApiCall) -> web.StreamResponse:
        try:
            return await handler(call)
        except CrmError as error:
            return error.response

    return answered


def _row_count(call: ApiCall) -> int:
    data = call.json().get("data")
    return len(data) if isinstance(data, list) else 1


def _row_credits(call: ApiCall) -> int:
    """Return the call's cost: 1 credit for 10 rows."""
    return max(1, -(-_row_count(call) // 10))


def _is_batch(call: ApiCall) -> bool:
    """Return whether the call has more than 10 rows, and so the smaller concurrency limit."""
    return _row_count(call) > 10


def _coql_credits(call: ApiCall) -> int:
    try:
        return parse_query(str(call.json().get("select_query", ""))).credits
    except QueryError:
        return 1


def _guarded_credits(weight: Any) -> Any:
    def safe(call: ApiCall) -> int:
        try:
            return int(weight(call))
        except CrmError:
            return 1  # the handler answers the error

    return safe
