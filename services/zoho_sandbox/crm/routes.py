"""Zoho CRM: `/crm/{version}/…`, and what staff do to contacts.

Source of paths, scopes and credits: crm-desk §1.2 to §1.7 and Zoho's OpenAPI for CRM v8.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from services.zoho_sandbox.crm.conditions import QueryError
from services.zoho_sandbox.crm.coql import parse_query
from services.zoho_sandbox.crm.dialect import CrmDialect, CrmError
from services.zoho_sandbox.crm.organization import CrmOrg
from services.zoho_sandbox.crm.record_endpoints import RecordCalls
from services.zoho_sandbox.crm.records import STAFF_USER
from services.zoho_sandbox.crm.setting_endpoints import CrmSettingEndpoints, NoteCalls, WatchCalls
from services.zoho_sandbox.crm.settings import CrmFieldNames
from services.zoho_sandbox.crm.tag_endpoints import TagCalls, tag_credits
from services.zoho_sandbox.server.admin import AdminRoutes, NoSuchRecord
from services.zoho_sandbox.server.routes import Call, EndpointHandler, Routes
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
    _record_routes(routes, RecordCalls(crm))
    _tag_routes(routes, TagCalls(crm))
    _note_routes(routes, NoteCalls(crm))
    _other_routes(routes, CrmSettingEndpoints(crm), WatchCalls(crm))
    routes.close()
    _Staff(crm).add_routes(AdminRoutes(app))


def _record_routes(routes: Routes, calls: RecordCalls) -> None:
    def write(method: str, path: str, operation: str, handler: EndpointHandler, right: str) -> None:
        routes.add(
            method,
            path,
            operation,
            _guarded(handler),
            scope=f"{_CONTACTS}.{right}",
            weight=_row_credits,
            heavy=_is_batch,
        )

    def read(path: str, operation: str, handler: EndpointHandler, *more: str) -> None:
        scope = (f"{_CONTACTS}.READ", *more)
        routes.add("GET", path, operation, _guarded(handler), scope=scope)

    write("POST", "/Contacts/upsert", "upsert_records", calls.upsert, "CREATE")
    write("POST", "/Contacts", "insert_records", calls.insert, "CREATE")
    write("PUT", "/Contacts", "update_records", calls.update, "UPDATE")
    write("PUT", "/Contacts/{id:[0-9]+}", "update_record", calls.update_one, "UPDATE")
    read("/Contacts/search", "search_records", calls.search, "ZohoSearch.securesearch.READ")
    read("/Contacts/deleted", "get_deleted_records", calls.deleted)
    read("/Contacts", "get_records", calls.list_records)
    read("/Contacts/{id:[0-9]+}", "get_record", calls.get)
    delete = _guarded(calls.delete)
    routes.add("DELETE", "/Contacts", "delete_records", delete, scope=f"{_CONTACTS}.DELETE")
    routes.add(
        "DELETE", "/Contacts/{id:[0-9]+}", "delete_record", delete, scope=f"{_CONTACTS}.DELETE"
    )
    routes.add(
        "POST",
        "/coql",
        "coql",
        _guarded(calls.coql),
        scope=("ZohoCRM.coql.READ", f"{_CONTACTS}.READ"),
        weight=_coql_credits,
        heavy=True,
    )


def _tag_routes(routes: Routes, calls: TagCalls) -> None:
    for operation, handler in (("add_tags", calls.add), ("remove_tags", calls.remove)):
        for path in ("/Contacts/actions", "/Contacts/{id:[0-9]+}/actions"):
            routes.add(
                "POST",
                f"{path}/{operation}",
                operation,
                _guarded(handler),
                scope=_TAGS,
                weight=_guarded_credits(tag_credits),
            )
    routes.add(
        "GET",
        "/settings/tags",
        "get_tags",
        _guarded(calls.list_tags),
        scope="ZohoCRM.settings.tags.READ",
    )
    routes.add(
        "POST",
        "/settings/tags",
        "create_tags",
        _guarded(calls.create),
        scope="ZohoCRM.settings.tags.CREATE",
    )


def _note_routes(routes: Routes, calls: NoteCalls) -> None:
    for path in ("/Notes", "/Contacts/{id:[0-9]+}/Notes"):
        routes.add(
            "POST",
            path,
            "create_notes",
            _guarded(calls.insert),
            scope=f"{_NOTES}.CREATE",
            weight=_row_credits,
        )
        routes.add("GET", path, "get_notes", _guarded(calls.list_notes), scope=f"{_NOTES}.READ")
    for path in ("/Notes", "/Notes/{note_id:[0-9]+}"):
        routes.add("PUT", path, "update_notes", _guarded(calls.update), scope=f"{_NOTES}.UPDATE")
        routes.add("DELETE", path, "delete_notes", _guarded(calls.delete), scope=f"{_NOTES}.DELETE")
    routes.add(
        "GET", "/Notes/{note_id:[0-9]+}", "get_note", _guarded(calls.get), scope=f"{_NOTES}.READ"
    )


def _other_routes(routes: Routes, settings: CrmSettingEndpoints, watch: WatchCalls) -> None:
    routes.add("GET", "/org", "get_org", settings.org, scope="ZohoCRM.org.READ")
    routes.add("GET", "/users", "get_users", settings.users, scope="ZohoCRM.users.READ")
    routes.add(
        "GET",
        "/settings/fields",
        "get_fields",
        _guarded(settings.fields),
        scope="ZohoCRM.settings.fields.READ",
    )
    for method, operation, handler, right in (
        ("POST", "enable_notifications", watch.enable, "CREATE"),
        ("PUT", "update_notifications", watch.change, "UPDATE"),
        ("PATCH", "patch_notifications", watch.change, "UPDATE"),
        ("GET", "get_notifications", watch.list_channels, "READ"),
        ("DELETE", "disable_notifications", watch.disable, "DELETE"),
    ):
        scope = f"{_WATCH}.{right}"
        routes.add(method, "/actions/watch", operation, _guarded(handler), scope=scope)


class _Staff:
    """What people do to contacts in Zoho's screens."""

    def __init__(self, crm: CrmOrg) -> None:
        self._crm = crm

    def add_routes(self, routes: AdminRoutes) -> None:
        routes.add("POST", "/crm/contacts/{id}/edit", self.edit)
        routes.add("POST", "/crm/contacts/{id}/merge", self.merge)
        routes.add("POST", "/crm/contacts/{id}/delete", self.delete)

    async def edit(self, request: web.Request, body: dict[str, Any]) -> Any:
        """The body holds the changed fields; `Tag` may list names."""
        contact = self._crm.contacts.get(request.match_info["id"])
        if contact is None:
            raise NoSuchRecord("no such contact")
        if "Tag" in body:
            named = [{"name": tag} if isinstance(tag, str) else tag for tag in body["Tag"]]
            body = {**body, "Tag": named}
        self._crm.contacts.edit(contact, body, actor=STAFF_USER)
        return contact

    async def merge(self, request: web.Request, body: dict[str, Any]) -> Any:
        """`{"into": id}`: this contact goes, the other stays."""
        if not self._crm.contacts.merge(body["into"], request.match_info["id"], actor=STAFF_USER):
            raise NoSuchRecord("no such contacts to merge")
        return self._crm.contacts.get(body["into"])

    async def delete(self, request: web.Request, body: dict[str, Any]) -> Any:
        if not self._crm.contacts.delete(request.match_info["id"], actor=STAFF_USER):
            raise NoSuchRecord("no such contact")
        return {"deleted": True}


def _guarded(handler: EndpointHandler) -> EndpointHandler:
    async def answered(call: Call) -> web.StreamResponse:
        try:
            return await handler(call)
        except CrmError as error:
            return error.response

    return answered


def _row_count(call: Call) -> int:
    data = call.json().get("data")
    return len(data) if isinstance(data, list) else 1


def _row_credits(call: Call) -> int:
    """1 credit for 10 rows."""
    return max(1, -(-_row_count(call) // 10))


def _is_batch(call: Call) -> bool:
    """Batches of more than 10 rows share the smaller concurrency."""
    return _row_count(call) > 10


def _coql_credits(call: Call) -> int:
    try:
        return parse_query(str(call.json().get("select_query", ""))).credits
    except QueryError:
        return 1


def _guarded_credits(weight: Any) -> Any:
    def safe(call: Call) -> int:
        try:
            return int(weight(call))
        except CrmError:
            return 1  # the handler answers for it

    return safe
