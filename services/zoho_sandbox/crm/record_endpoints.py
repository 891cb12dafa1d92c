"""Serve the records of `Contacts`: writes with positional rows, reads, lists, search, COQL."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from aiohttp import web

from services.zoho_sandbox.crm.conditions import QueryError
from services.zoho_sandbox.crm.coql import parse_query
from services.zoho_sandbox.crm.criteria import parse_criteria
from services.zoho_sandbox.crm.dialect import CrmError, answer, failure, row_answer
from services.zoho_sandbox.crm.fields import invalid_id
from services.zoho_sandbox.crm.organization import CrmOrg
from services.zoho_sandbox.server.routes import ApiCall
from services.zoho_sandbox.server.tables import Record

MAX_ROWS, MAX_PER_PAGE, MAX_FIELDS, MAX_REACH = 100, 200, 50, 2000
MAX_CHECK_FIELDS = 10


class RecordEndpoints:
    """Handlers of calls on the organization's contacts."""

    def __init__(self, crm: CrmOrg) -> None:
        self._crm = crm

    async def insert(self, call: ApiCall) -> web.StreamResponse:
        with self._triggering(call):
            rows = self._crm.contacts.insert(sent_rows(call))
        return row_answer(rows, version=version_of(call), done=201)

    async def update(self, call: ApiCall) -> web.StreamResponse:
        with self._triggering(call):
            rows = self._crm.contacts.update(sent_rows(call))
        return row_answer(rows, version=version_of(call))

    async def update_one(self, call: ApiCall) -> web.StreamResponse:
        contact = self._crm.contacts.get(call.path("id"))
        unless_after = call.request.headers.get("If-Unmodified-Since")
        if contact and unless_after and _time(contact["Modified_Time"]) > _time(unless_after):
            return failure(412, "ALREADY_MODIFIED", "the record has been modified already")
        row = {**sent_rows(call)[0], "id": call.path("id")}
        with self._triggering(call):
            rows = self._crm.contacts.update([row])
        return row_answer(rows, version=version_of(call))

    async def upsert(self, call: ApiCall) -> web.StreamResponse:
        with self._triggering(call):
            rows = self._crm.contacts.upsert(sent_rows(call), self._check_fields(call))
        return row_answer(rows, version=version_of(call))

    async def delete(self, call: ApiCall) -> web.StreamResponse:
        ids = [call.path("id")] if "id" in call.request.match_info else _csv(call.query("ids"))
        if not ids or len(ids) > MAX_ROWS:
            raise CrmError(400, "REQUIRED_PARAM_MISSING", "ids: 1 to 100", param_name="ids")
        rows = [
            _deleted_row(zoho_id) if self._crm.contacts.delete(zoho_id) else invalid_id(index)
            for index, zoho_id in enumerate(ids)
        ]
        return row_answer(rows, version=version_of(call))

    async def get(self, call: ApiCall) -> web.StreamResponse:
        """Answer 204 for a deleted or merged contact, and 400 for an id that never existed."""
        zoho_id = call.path("id")
        contact = self._crm.contacts.get(zoho_id)
        if contact is None:
            gone = self._crm.contacts.deleted.get(zoho_id) is not None
            return web.Response(status=204) if gone else row_answer([invalid_id(0)], version=3)
        if not _modified_since(call, contact):
            return web.Response(status=304)
        return answer({"data": [contact]})

    async def list_records(self, call: ApiCall) -> web.StreamResponse:
        """List records, newest id first unless sorted. From v3 on `fields` is mandatory."""
        if version_of(call) >= 3 and not call.query("fields"):
            raise CrmError(
                400,
                "REQUIRED_PARAM_MISSING",
                "One of the expected parameter is missing",
                param_name="fields",
            )
        rows = self._crm.contacts.table.searched()
        if rows and not any(_modified_since(call, row) for row in rows):
            return web.Response(status=304)
        rows = [row for row in rows if _modified_since(call, row)]
        if wanted := _csv(call.query("ids")):
            rows = [row for row in rows if row["id"] in wanted]
        by = call.query("sort_by", "id")
        rows.sort(
            key=lambda row: str(row.get(by)), reverse=call.query("sort_order", "desc") != "asc"
        )
        return self._page(call, rows)

    async def search(self, call: ApiCall) -> web.StreamResponse:
        """Search by one of criteria, email, phone, word. The index lags. `equals` is *contains*."""
        names = [name for name in ("criteria", "email", "phone", "word") if call.query(name)]
        if len(names) != 1:
            raise CrmError(400, "INVALID_REQUEST", "one of criteria, email, phone, word expected")
        text = call.query(names[0])
        try:
            matches = parse_criteria(text if names[0] == "criteria" else _shortcut(names[0], text))
        except QueryError as error:
            raise CrmError(400, error.code, str(error)) from error
        return self._page(
            call, [row for row in self._crm.contacts.table.searched() if matches(row)]
        )

    async def coql(self, call: ApiCall) -> web.StreamResponse:
        """Run a COQL query on the records themselves, without lag."""
        try:
            query = parse_query(str(call.json().get("select_query", "")))
        except QueryError as error:
            raise CrmError(400, error.code, str(error)) from error
        if query.module != "Contacts":
            raise CrmError(400, "INVALID_QUERY", "the module given is not supported")
        rows = [row for row in self._crm.contacts.table if query.where(row)]
        if query.order_by:
            rows.sort(key=lambda row: str(row.get(query.order_by or "")), reverse=query.descending)
        page = rows[query.offset : query.offset + query.limit]
        if not page:
            return web.Response(status=204)
        data = [_columns(row, query.columns) for row in page]
        more = len(rows) > query.offset + query.limit
        return answer({"data": data, "info": {"count": len(data), "more_records": more}})

    async def deleted(self, call: ApiCall) -> web.StreamResponse:
        """List the recycle bin, newest first. `type` is all, recycle or permanent."""
        kind = call.query("type", "all")
        rows = [row for row in self._crm.contacts.deleted if kind in ("all", row["type"])]
        return self._page(call, rows[::-1])

    @contextmanager
    def _triggering(self, call: ApiCall) -> Iterator[None]:
        """Run workflows as `trigger` says. Without it, every automation runs."""
        trigger = call.json().get("trigger")
        known = {"workflow", "approval", "blueprint", "pathfinder", "orchestration"}
        if trigger is not None and not (isinstance(trigger, list) and set(trigger) <= known):
            raise CrmError(
                400, "INVALID_DATA", "invalid data", api_name="trigger", json_path="$.trigger"
            )
        self._crm.contacts.automations_run = trigger is None or "workflow" in trigger
        try:
            yield
        finally:
            self._crm.contacts.automations_run = True

    def _check_fields(self, call: ApiCall) -> list[str]:
        unique = [field.api_name for field in self._crm.fields.values() if field.unique]
        names = call.json().get("duplicate_check_fields")
        if names is None:
            return ["Email", *unique]
        is_list = isinstance(names, list) and 0 < len(names) <= MAX_CHECK_FIELDS
        if not is_list or not set(names) <= {"Email", *unique}:
            raise CrmError(
                400,
                "INVALID_DATA",
                "invalid data",
                api_name="duplicate_check_fields",
                json_path="$.duplicate_check_fields",
            )
        return list(names)

    def _page(self, call: ApiCall, rows: Sequence[Record]) -> web.Response:
        fields = _csv(call.query("fields"))
        if len(fields) > MAX_FIELDS:
            raise CrmError(400, "LIMIT_EXCEEDED", "at most 50 fields", limit=MAX_FIELDS)
        per_page = min(max(1, _number(call.query("per_page"), MAX_PER_PAGE)), MAX_PER_PAGE)
        page, token = max(1, _number(call.query("page"), 1)), call.query("page_token")
        offset = _offset(token) if token else (page - 1) * per_page
        if not token and offset + per_page > MAX_REACH:
            raise CrmError(400, "DISCRETE_PAGINATION_LIMIT_EXCEEDED", "use page_token beyond 2,000")
        some = rows[offset : offset + per_page]
        if not some:
            return web.Response(status=204)
        more = len(rows) > offset + per_page
        info: dict[str, Any] = {
            "per_page": per_page,
            "count": len(some),
            "page": page,
            "more_records": more,
        }
        if version_of(call) >= 3:
            expiry = self._crm.world.clock.now() + timedelta(hours=24)
            info["next_page_token"] = _token(offset + per_page) if more else None
            info["page_token_expiry"] = expiry.isoformat(timespec="seconds") if more else None
        return answer({"data": [_columns(row, fields) for row in some], "info": info})


def version_of(call: ApiCall) -> float:
    """Return the version of the path: 8.0 for `v8`, 2.1 for `v2.1`."""
    return float(call.path("version").removeprefix("v") or 0)


def sent_rows(call: ApiCall) -> list[Record]:
    """Return `data` of the body, 1 to 100 objects. Raises: CrmError: it is something else."""
    rows = call.json().get("data")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise CrmError(
            400,
            "MANDATORY_NOT_FOUND",
            "required field not found",
            api_name="data",
            json_path="$.data",
        )
    if len(rows) > MAX_ROWS:
        raise CrmError(400, "LIMIT_EXCEEDED", "at most 100 rows", api_name="data", limit=MAX_ROWS)
    return rows


def _modified_since(call: ApiCall, record: Record) -> bool:
    """Return whether the record is newer than `If-Modified-Since`. Always true without it."""
    since = call.request.headers.get("If-Modified-Since")
    return since is None or _time(record["Modified_Time"]) > _time(since)


def _time(text: str) -> datetime:
    """Parse a header's time. Raises: CrmError: it is not ISO 8601 with an offset."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise CrmError(400, "INVALID_DATA", "invalid data", header=text) from error
    if moment.tzinfo is None:
        raise CrmError(400, "INVALID_DATA", "invalid data", header=text)
    return moment


def _columns(row: Record, fields: list[str]) -> Record:
    if not fields:
        return row
    return {"id": row["id"]} | {name: row.get(name) for name in fields}


def _deleted_row(zoho_id: str) -> Record:
    return {
        "code": "SUCCESS",
        "details": {"id": zoho_id},
        "message": "record deleted",
        "status": "success",
    }


def _csv(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _number(text: str, default: int) -> int:
    return int(text) if text.isdigit() else default


def _escaped(text: str) -> str:
    return "".join("\\" + char if char in "(),\\" else char for char in text)


def _shortcut(name: str, text: str) -> str:
    """Return the criteria that `email=`, `phone=` and `word=` stand for."""
    first, second = {
        "email": ("Email", "Secondary_Email"),
        "phone": ("Phone", "Mobile"),
        "word": ("Full_Name", "Email"),
    }[name]
    return f"(({first}:equals:{_escaped(text)})or({second}:equals:{_escaped(text)}))"


def _token(offset: int) -> str:
    return base64.urlsafe_b64encode(f"offset:{offset}".encode()).decode()


def _offset(token: str) -> int:
    try:
        return int(base64.urlsafe_b64decode(token).decode().removeprefix("offset:"))
    except ValueError as error:
        raise CrmError(
            400, "INVALID_DATA", "the page_token is invalid", param_name="page_token"
        ) from error
