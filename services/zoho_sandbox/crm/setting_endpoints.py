"""Serve the organization, its users and fields, the notes, and the notification channels."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from services.zoho_sandbox.crm.dialect import CrmError, answer, row_answer
from services.zoho_sandbox.crm.fields import FieldRule
from services.zoho_sandbox.crm.organization import CONTACTS_MODULE_ID, USERS, CrmOrg
from services.zoho_sandbox.crm.record_endpoints import sent_rows, version_of
from services.zoho_sandbox.server.routes import ApiCall
from services.zoho_sandbox.server.tables import Record


class CrmSettingEndpoints:
    """Handlers of calls on the organization itself."""

    def __init__(self, crm: CrmOrg) -> None:
        self._crm = crm

    async def org(self, call: ApiCall) -> web.StreamResponse:
        settings = self._crm.world.settings
        org = {
            "id": "487600000000020011",
            "zgid": "630221901",
            "company_name": "Sandbox",
            "country_code": "US",
            "iso_code": settings.currency,
            "currency": settings.currency,
            "time_zone": settings.time_zone,
            "license_details": {
                "paid": True,
                "paid_type": "enterprise",
                "users_license_purchased": 5,
                "portal_users_license_purchased": 0,
            },
        }
        return answer({"org": [org]})

    async def users(self, call: ApiCall) -> web.StreamResponse:
        users = list(USERS.values())
        if call.query("type") == "CurrentUser":
            users = users[:1]
        info = {"per_page": 200, "count": len(users), "page": 1, "more_records": False}
        return answer({"users": users, "info": info})

    async def fields(self, call: ApiCall) -> web.StreamResponse:
        _check_module(call.query("module"))
        lowered = self._crm.world.behaviour.maximum_lengths
        fields = [
            {**_field(field, number), "length": lowered.get(field.api_name, field.length)}
            for number, field in enumerate(self._crm.fields.values())
        ]
        return answer({"fields": fields})

    async def modules(self, call: ApiCall) -> web.StreamResponse:
        """List the modules, which Zoho's own SDKs read before their first record."""
        return answer({"modules": [_module(*module) for module in _MODULES]})

    async def module(self, call: ApiCall) -> web.StreamResponse:
        known = {module[0]: module for module in _MODULES}
        if call.path("module") not in known:
            raise CrmError(400, "INVALID_MODULE", "the module name given seems to be invalid")
        return answer({"modules": [_module(*known[call.path("module")])]})

    async def related_lists(self, call: ApiCall) -> web.StreamResponse:
        """List the related lists of Contacts, which Zoho's own SDKs read before notes."""
        _check_module(call.query("module"))
        return answer({"related_lists": [_related_list(*related) for related in _RELATED_LISTS]})


class NoteEndpoints:
    """Handlers of calls on contacts' notes."""

    def __init__(self, crm: CrmOrg) -> None:
        self._notes = crm.notes

    async def insert(self, call: ApiCall) -> web.StreamResponse:
        parent = call.path("id") if "id" in call.request.match_info else None
        return row_answer(
            self._notes.insert(sent_rows(call), parent), version=version_of(call), done=201
        )

    async def update(self, call: ApiCall) -> web.StreamResponse:
        rows = sent_rows(call)
        if "note_id" in call.request.match_info:
            rows = [{**rows[0], "id": call.path("note_id")}]
        return row_answer(self._notes.update(rows), version=version_of(call))

    async def delete(self, call: ApiCall) -> web.StreamResponse:
        ids = [part for part in call.query("ids").split(",") if part]
        if "note_id" in call.request.match_info:
            ids = [call.path("note_id")]
        return row_answer([self._notes.delete(note) for note in ids], version=version_of(call))

    async def list_notes(self, call: ApiCall) -> web.StreamResponse:
        """List the notes of one contact, or all. `fields` is mandatory from v3 on."""
        if version_of(call) >= 3 and not call.query("fields"):
            message = "One of the expected parameter is missing"
            raise CrmError(400, "REQUIRED_PARAM_MISSING", message, param_name="fields")
        of_contact = "id" in call.request.match_info
        rows = self._notes.of(call.path("id")) if of_contact else list(self._notes.table)
        per_page = min(int(call.query("per_page", "200")), 200)
        page = int(call.query("page", "1"))
        notes = rows[(page - 1) * per_page : page * per_page]
        if not notes:
            return web.Response(status=204)
        more = len(rows) > page * per_page
        info = {"per_page": per_page, "count": len(notes), "page": page, "more_records": more}
        return answer({"data": notes, "info": info})

    async def get(self, call: ApiCall) -> web.StreamResponse:
        note = self._notes.get(call.path("note_id"))
        return answer({"data": [note]}) if note else web.Response(status=204)


class WatchEndpoints:
    """Handlers of calls on notification channels."""

    def __init__(self, crm: CrmOrg) -> None:
        self._channels = crm.channels

    async def enable(self, call: ApiCall) -> web.StreamResponse:
        return self._set(call, changing=False, done=201)

    async def change(self, call: ApiCall) -> web.StreamResponse:
        return self._set(call, changing=True, done=200)

    async def list_channels(self, call: ApiCall) -> web.StreamResponse:
        wanted = call.query("channel_id")
        alive = [row for row in self._channels.alive() if wanted in ("", row["channel_id"])]
        if not alive:
            return web.Response(status=204)
        info = {"per_page": 200, "count": len(alive), "page": 1, "more_records": False}
        return answer({"watch": alive, "info": info})

    async def disable(self, call: ApiCall) -> web.StreamResponse:
        ids = [part for part in call.query("channel_ids").split(",") if part]
        if not ids:
            message = "One of the expected parameter is missing"
            raise CrmError(400, "REQUIRED_PARAM_MISSING", message, param_name="channel_ids")
        rows = [self._channels.disable(channel_id) for channel_id in ids]
        return row_answer(rows, version=version_of(call), key="watch")

    def _set(self, call: ApiCall, *, changing: bool, done: int) -> web.Response:
        channels: Any = call.json().get("watch")
        if not isinstance(channels, list) or not channels:
            raise CrmError(400, "MANDATORY_NOT_FOUND", "required field not found", api_name="watch")
        version = version_of(call)
        rows = [
            self._channels.enable(channel, index, version=version, changing=changing)
            for index, channel in enumerate(channels)
        ]
        return row_answer(rows, version=version, done=done, key="watch")


# API name, singular and plural label, id.
_MODULES = (
    ("Contacts", "Contact", "Contacts", CONTACTS_MODULE_ID),
    ("Notes", "Note", "Notes", "487600000000002197"),
)
_RELATED_LISTS = (
    ("Notes", "Notes", "487600000000002561"),
    ("Attachments", "Attachments", "487600000000002563"),
)


def _check_module(name: str) -> None:
    if name != "Contacts":
        raise CrmError(400, "INVALID_MODULE", "the module name given seems to be invalid")


def _module(api_name: str, singular: str, plural: str, module_id: str) -> Record:
    yes = ("api_supported", "creatable", "deletable", "editable", "viewable", "filter_supported",
           "global_search_supported", "show_as_tab", "visible")  # fmt: skip
    return {
        "id": module_id,
        "api_name": api_name,
        "module_name": api_name,
        "singular_label": singular,
        "plural_label": plural,
        "generated_type": "default",
        "status": "visible",
        "sequence_number": 1,
        "modified_time": None,
        "modified_by": None,
        "profiles": [],
        "parent_module": {},
        **dict.fromkeys(yes, True),
    }


def _related_list(api_name: str, label: str, list_id: str) -> Record:
    return {
        "id": list_id,
        "api_name": api_name,
        "display_label": label,
        "name": label,
        "module": {"api_name": api_name, "id": list_id},
        "href": f"Contacts/{{ENTITYID}}/{api_name}",
        "type": "default",
        "sequence_number": "1",
        "action": None,
        "connectedmodule": None,
        "linkingmodule": None,
    }


_FIRST_FIELD_ID = 487600000000002000

# Zoho's other properties of a field, which the sandbox does not use: the same for all fields here.
_DETAILS: Record = {
    **dict.fromkeys(
        (
            "association_details",
            "auto_number",
            "currency",
            "external",
            "formula",
            "lookup",
            "multi_module_lookup",
            "multiselectlookup",
            "range",
            "rollup_summary",
        )
    ),
    **dict.fromkeys(
        (
            "businesscard_supported",
            "filterable",
            "mass_update",
            "searchable",
            "sortable",
            "webhook",
        ),
        True,
    ),
    **dict.fromkeys(
        (
            "colour_code_enabled_by_system",
            "display_field",
            "enable_colour_code",
            "field_read_only",
            "history_tracking_enabled",
            "pick_list_values_sorted_lexically",
            "public",
            "separator",
            "virtual_field",
        ),
        False,
    ),
    **dict.fromkeys(("display_type", "ui_type"), 1),
    **dict.fromkeys(("profiles", "pick_list_values"), ()),
    "created_source": "default",
    "type": "used",
    "convert_mapping": {},
    "email_parser": {"fields_update_supported": True, "record_operations_supported": True},
    "operation_type": dict.fromkeys(("web_create", "web_update", "api_create", "api_update"), True),
    "view_type": dict.fromkeys(("view", "edit", "create", "quick_create"), True),
}


def _field(field: FieldRule, number: int) -> Record:
    label = field.api_name.replace("_", " ")
    return {
        **_DETAILS,
        "id": str(_FIRST_FIELD_ID + number),
        "display_label": label,
        "api_name": field.api_name,
        "field_label": label,
        "data_type": field.data_type,
        "json_type": "string",
        "length": field.length,
        "system_mandatory": field.mandatory,
        "custom_field": field.custom,
        "unique": {"casesensitive": "false"} if field.unique else {},
        "visible": True,
        "read_only": False,
    }
