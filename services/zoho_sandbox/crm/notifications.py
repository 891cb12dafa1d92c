"""Keep notification channels (`/actions/watch`), and build the notifications posted to them.

A channel lives at most a week from v4 on, and a day before. An expiry that is omitted or too far
away silently becomes one hour. There is no signature: a receiver recognizes its own `token`.
Source: Zoho CRM, "Notification APIs".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from services.zoho_sandbox.crm.dialect import ResultRow
from services.zoho_sandbox.server.tables import Record, Table

_OPERATIONS = {"create": "insert", "edit": "update", "delete": "delete"}


class NotificationChannels:
    """The table of channels."""

    def __init__(self, table: Table, *, now: Callable[[], datetime], module_id: str) -> None:
        self.table = table
        self._now = now
        self._module_id = module_id

    def enable(self, sent: Record, index: int, *, version: float, changing: bool) -> ResultRow:
        """Create or change a channel. `changing` (PUT, PATCH) needs a channel with that id."""
        error = self._error(sent, index, changing=changing)
        if error:
            return error
        existing = self.find(str(sent["channel_id"]))
        channel: Record = {**(existing or {}), **sent, "channel_id": str(sent["channel_id"])}
        channel["channel_expiry"] = self._granted(sent.get("channel_expiry"), version)
        self.table.save(channel)
        details = {"events": [self._event(channel, event) for event in channel["events"]]}
        return _success(details, "Successfully subscribed for actions-watch of the given module")

    def disable(self, channel_id: str) -> ResultRow:
        """Remove a channel. The result row is NOT_SUBSCRIBED for an unknown one."""
        channel = self.find(channel_id)
        if channel is None:
            return _error("NOT_SUBSCRIBED", {"channel_id": channel_id})
        self.table.remove(channel_id)
        return _success({"channel_id": channel_id}, "Successfully un-subscribed for the channel")

    def find(self, channel_id: str) -> Record | None:
        """Return the channel, even if it has expired."""
        return self.table.get(channel_id)

    def _is_alive(self, channel_id: str) -> bool:
        return any(row["channel_id"] == channel_id for row in self.alive())

    def alive(self) -> list[Record]:
        """Return the channels that have not expired."""
        now = self._now()
        return [row for row in self.table if datetime.fromisoformat(row["channel_expiry"]) > now]

    def notifications(
        self, operation: str, record: Record, affected: list[str], more: list[Record]
    ) -> Iterator[tuple[str, Record]]:
        """Yield (URL, body) for each channel that watches this change, and for each of `more`."""
        wanted = {f"Contacts.{operation}", "Contacts.all"}
        watching = [channel for channel in self.alive() if wanted & set(channel["events"])]
        for channel in [*watching, *more]:
            yield channel["notify_url"], self._notice(channel, operation, record, affected)

    def _notice(
        self, channel: Record, operation: str, record: Record, affected: list[str]
    ) -> Record:
        body: Record = {
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

    def _error(self, sent: Record, index: int, *, changing: bool) -> ResultRow | None:
        for name in ("channel_id", "events", "notify_url"):
            if not sent.get(name) and not (changing and name != "channel_id"):
                details = {"api_name": name, "json_path": f"$.watch[{index}].{name}"}
                return _error("MANDATORY_NOT_FOUND", details)
        if len(str(sent.get("token") or "")) > 50:
            path = f"$.watch[{index}].token"
            return _error(
                "INVALID_DATA", {"maximum_length": 50, "api_name": "token", "json_path": path}
            )
        if changing and not self._is_alive(str(sent["channel_id"])):
            return _error("NOT_SUBSCRIBED", {"channel_id": sent["channel_id"]})
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

    def _event(self, channel: Record, event: str) -> Record:
        module = event.split(".", 1)[0]
        return {
            "channel_expiry": channel["channel_expiry"],
            "resource_uri": f"https://www.zohoapis.com/crm/v8/{module}",
            "resource_id": self._module_id,
            "resource_name": module,
            "channel_id": channel["channel_id"],
        }


def _success(details: Record, message: str) -> ResultRow:
    return {"code": "SUCCESS", "details": details, "message": message, "status": "success"}


def _error(code: str, details: Record) -> ResultRow:
    return {"code": code, "details": details, "message": "invalid data", "status": "error"}
