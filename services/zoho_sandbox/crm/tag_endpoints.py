"""Serve the calls on tags. v2 takes query parameters alone, later versions a JSON body alone."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from services.zoho_sandbox.crm.dialect import CrmError, ResultRow, answer, row_answer
from services.zoho_sandbox.crm.fields import invalid_id
from services.zoho_sandbox.crm.organization import CrmOrg
from services.zoho_sandbox.crm.record_endpoints import version_of
from services.zoho_sandbox.crm.records import API_USER
from services.zoho_sandbox.crm.tag_rules import name_error
from services.zoho_sandbox.server.routes import ApiCall
from services.zoho_sandbox.server.tables import Record

MAX_IDS = 500


class TagEndpoints:
    """Handlers of `actions/add_tags`, `actions/remove_tags` and `settings/tags`."""

    def __init__(self, crm: CrmOrg) -> None:
        self._crm = crm

    async def add(self, call: ApiCall) -> web.StreamResponse:
        tags, over_write = _sent_tags(call), _over_write(call)
        return self._for_each(call, lambda record: self._add(record, tags, over_write=over_write))

    async def remove(self, call: ApiCall) -> web.StreamResponse:
        tags = _sent_tags(call)
        return self._for_each(call, lambda record: self._remove(record, tags))

    async def list_tags(self, call: ApiCall) -> web.StreamResponse:
        _check_module(call)
        tags = [{**tag, "modified_time": None} for tag in self._crm.tags.table]
        return answer({"tags": tags, "info": {"count": len(tags), "allowed_count": 100}})

    async def create(self, call: ApiCall) -> web.StreamResponse:
        _check_module(call)
        rows = [self._create(tag, index) for index, tag in enumerate(call.json().get("tags") or [])]
        return row_answer(rows, version=version_of(call), done=201, key="tags")

    def _for_each(self, call: ApiCall, act: Any) -> web.Response:
        """Apply `act` to every record named. The answer has counts beside the rows, as strings."""
        rows: list[ResultRow] = []
        for index, zoho_id in enumerate(_record_ids(call)):
            record = self._crm.contacts.get(zoho_id)
            outcome = invalid_id(index) if record is None else act(record)
            rows.append(outcome if isinstance(outcome, dict) else _tagged(call, zoho_id, outcome))
        response = row_answer(rows, version=version_of(call))
        done = sum(row["status"] == "success" for row in rows)
        body = {"data": rows, "success_count": str(done), "locked_count": "0"}
        return answer(body, response.status)

    def _add(
        self, record: Record, sent: list[Record], *, over_write: bool
    ) -> list[Record] | ResultRow:
        tags = self._crm.tags.add(record, sent, over_write=over_write)
        if isinstance(tags, list):
            self._crm.contacts.edit(record, {"Tag": tags}, actor=API_USER)
        return tags

    def _remove(self, record: Record, sent: list[Record]) -> list[Record]:
        tags = self._crm.tags.without(record, sent)
        self._crm.contacts.edit(record, {"Tag": tags}, actor=API_USER)
        return tags

    def _create(self, tag: Record, index: int) -> ResultRow:
        error = name_error(tag.get("name"), f"$.tags[{index}].name") or self._crm.tags.room_error(
            [tag]
        )
        if error:
            return error
        details = {"id": self._crm.tags.create(str(tag["name"]))["id"]}
        message = "tags created successfully"
        return {"code": "SUCCESS", "details": details, "message": message, "status": "success"}


def tag_credits(call: ApiCall) -> int:
    """Return the call's cost: 1 credit for 50 records."""
    return max(1, -(-len(_record_ids(call)) // 50))


def _sent_tags(call: ApiCall) -> list[Record]:
    if version_of(call) < 3:
        names = [name.strip() for name in call.query("tag_names").split(",") if name.strip()]
        if not names:
            message = "One of the expected parameter is missing"
            raise CrmError(400, "REQUIRED_PARAM_MISSING", message, param_name="tag_names")
        return [{"name": name} for name in names]
    tags = call.json().get("tags") if call.body else None
    if not isinstance(tags, list) or not tags:
        path = "$.tags"
        raise CrmError(
            400, "MANDATORY_NOT_FOUND", "required field not found", api_name="tags", json_path=path
        )
    for index, tag in enumerate(tags):
        if not isinstance(tag, dict):
            path = f"$.tags[{index}]"
            raise CrmError(
                400,
                "INVALID_DATA",
                "invalid data",
                api_name="tags",
                json_path=path,
                expected_data_type="jsonobject",
            )
    return tags


def _over_write(call: ApiCall) -> bool:
    if version_of(call) < 3:
        return call.query("over_write") == "true"
    return bool(call.json().get("over_write"))


def _record_ids(call: ApiCall) -> list[str]:
    if "id" in call.request.match_info:
        return [call.path("id")]
    if version_of(call) < 3:
        ids: Any = [part for part in call.query("ids").split(",") if part]
    else:
        ids = call.json().get("ids") if call.body else None
    if not isinstance(ids, list) or not ids:
        raise CrmError(400, "MANDATORY_NOT_FOUND", "required field not found", api_name="ids")
    if len(ids) > MAX_IDS:
        raise CrmError(400, "LIMIT_EXCEEDED", "at most 500 records", api_name="ids", limit=MAX_IDS)
    return [str(zoho_id) for zoho_id in ids]


def _tagged(call: ApiCall, zoho_id: str, tags: list[Record]) -> ResultRow:
    shown: list[Any] = [tag["name"] for tag in tags] if version_of(call) < 3 else tags
    return {
        "code": "SUCCESS",
        "details": {"id": zoho_id, "tags": shown},
        "message": "tags updated successfully",
        "status": "success",
    }


def _check_module(call: ApiCall) -> None:
    if call.query("module") != "Contacts":
        raise CrmError(400, "INVALID_MODULE", "the module name given seems to be invalid")
