"""Notification channels (`/actions/watch`) and what is posted to them.

A channel lives a week at most from v4 on, a day before; an expiry that is omitted or too far away
silently becomes one hour. There is no signature: the receiver knows its own `token` again.
Source: Zoho CRM "Notification APIs".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from services.zoho_sandbox.server.tables import Table

Row = dict[str, Any]

_OPERATIONS = {"create": "insert", "edit": "update", "delete": "delete"}


class Channels:
    """Channels over the sandbox's table of them."""

    def __init__(self, table: Table, *, now: Callable[[], datetime], module_id: str) -> None:
        self.table = table
        self._now = now
        self._module_id = module_id

    def enable(self, given: Row, index: int, *, version: float, changing: bool) -> Row:
        """One result row; `changing` (PUT, PATCH) needs a channel of that id."""
        error = self._error(given, index, changing=changing)
        if error:
            return error
        existing = self.find(str(given["channel_id"]))
        channel: Row = {**(existing or {}), **given, "channel_id": str(given["channel_id"])}
        channel["channel_expiry"] = self._granted(given.get("channel_expiry"), version)
        self.table.save(channel)
        details = {"events": [self._event(channel, event) for event in channel["events"]]}
        return _success(details, "Successfully subscribed for actions-watch of the given module")

    def disable(self, channel_id: str) -> Row:
        """One result row; NOT_SUBSCRIBED for an unknown channel."""
        channel = self.find(channel_id)
        if channel is None:
            return _error("NOT_SUBSCRIBED", {"channel_id": channel_id})
        self.table.remove(channel_id)
        return _success({"channel_id": channel_id}, "Successfully un-subscribed for the channel")

    def find(self, channel_id: str) -> Row | None:
        """The channel, also one that has expired."""
        return self.table.get(channel_id)

    def alive(self) -> list[Row]:
        """Channels that have not expired."""
        now = self._now()
        return [row for row in self.table if datetime.fromisoformat(row["channel_expiry"]) > now]

    def notices(
        self, operation: str, record: Row, affected: list[str], more: list[Row]
    ) -> Iterator[tuple[str, Row]]:
        """(URL, body) for each channel that watches this change, and for each of `more`."""
        wanted = {f"Contacts.{operation}", "Contacts.all"}
        watching = [channel for channel in self.alive() if wanted & set(channel["events"])]
        for channel in [*watching, *more]:
            yield channel["notify_url"], self._notice(channel, operation, record, affected)

    def _notice(self, channel: Row, operation: str, record: Row, affected: list[str]) -> Row:
        body: Row = {
            "server_time": int(self._now().timestamp() * 1000),
            "query_params": {},
            "module": "Contacts",
            "resource_uri": "https://www.zohoapis.com/crm/v8/Contacts",
            "ids": [record["id"]],
            "affected_fields": [{record["id"]: affected}] if operation == "edit" else [],
            "operation": _OPERATIONS[operation],
            "channel_id": channel["channel_id"],
            "token": channel.get("token"),
        }
        if channel.get("return_affected_field_values"):
            values = {name: record.get(name) for name in affected}
            body["affected_values"] = [{"record_id": record["id"], "values": values}]
        return body

    def _error(self, given: Row, index: int, *, changing: bool) -> Row | None:
        for name in ("channel_id", "events", "notify_url"):
            if not given.get(name) and not (changing and name != "channel_id"):
                details = {"api_name": name, "json_path": f"$.watch[{index}].{name}"}
                return _error("MANDATORY_NOT_FOUND", details)
        if len(str(given.get("token") or "")) > 50:
            path = f"$.watch[{index}].token"
            return _error(
                "INVALID_DATA", {"maximum_length": 50, "api_name": "token", "json_path": path}
            )
        if changing and self.find(str(given["channel_id"])) is None:
            return _error("NOT_SUBSCRIBED", {"channel_id": given["channel_id"]})
        return None

    def _granted(self, asked: Any, version: float) -> str:
        now = self._now()
        longest = now + (timedelta(days=7) if version >= 4 else timedelta(days=1))
        try:
            expiry = datetime.fromisoformat(str(asked))
            granted = expiry if now < expiry <= longest else now + timedelta(hours=1)
        except (ValueError, TypeError):
            granted = now + timedelta(hours=1)
        return granted.isoformat(timespec="seconds")

    def _event(self, channel: Row, event: str) -> Row:
        module = event.split(".", 1)[0]
        return {
            "channel_expiry": channel["channel_expiry"],
            "resource_uri": f"https://www.zohoapis.com/crm/v8/{module}",
            "resource_id": self._module_id,
            "resource_name": module,
            "channel_id": channel["channel_id"],
        }


def _success(details: Row, message: str) -> Row:
    return {"code": "SUCCESS", "details": details, "message": message, "status": "success"}


def _error(code: str, details: Row) -> Row:
    return {"code": code, "details": details, "message": "invalid data", "status": "error"}
