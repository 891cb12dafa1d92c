"""Log Billing's events, send their webhooks, and serve `GET /events`.

The log has an event's data as a JSON string under `payload`. A webhook has it under `data`.
Source: https://www.zoho.com/billing/api/v1/events/.
"""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from services.zoho_sandbox.finance.dialect import in_order, not_found, ok, page
from services.zoho_sandbox.finance.webhooks import announce_record, post, uses_workflow
from services.zoho_sandbox.server.routes import ApiCall, Routes
from services.zoho_sandbox.server.tables import Record
from services.zoho_sandbox.server.world import World

# Modules that have workflow rules. Customers have no events, so they announce themselves.
_RECORDS = {"subscription", "invoice", "payment", "creditnote"}


def add_routes(routes: Routes) -> None:
    scope = "ZohoSubscriptions.webhooks.READ"
    routes.add("GET", "/events", "list_events", _list, scope=scope)
    routes.add("GET", "/events/{event_id}", "retrieve_event", _retrieve, scope=scope)


def announce(world: World, event_type: str, data: dict[str, Any]) -> Record:
    """Log an event about the present state of the records in `data`, and send its webhooks."""
    event = world.table("billing", "events").add(
        {
            "event_id": world.ids.new("billing"),
            "event_type": event_type,
            "event_time": world.clock.finance_time(),
            "payload": orjson.dumps(data).decode(),
        }
    )
    head = {name: event[name] for name in ("event_id", "event_type", "event_time")}
    for target in world.webhooks.targets("billing"):
        if not uses_workflow(target):
            post(
                world,
                "billing",
                target,
                {**head, "data": data},
                event_type=event_type,
                event_id=event["event_id"],
            )
    for entity in _RECORDS & data.keys():
        announce_record(world, "billing", entity, data[entity])
    return event


async def _list(call: ApiCall) -> web.Response:
    rows = in_order(call, call.world.table("billing", "events"))
    shown = [{name: row[name] for name in ("event_id", "event_type", "event_time")} for row in rows]
    return page(call, "events", shown, filter_name="Events.All")


async def _retrieve(call: ApiCall) -> web.Response:
    event = call.world.table("billing", "events").get(call.path("event_id"))
    if event is None:
        raise not_found("Event")
    sent = [
        {
            "webhook_id": delivery.id,
            "url": delivery.url,
            "status": "failure" if delivery.status == "dropped" else delivery.status,
            "last_updated_time": call.world.clock.finance_time(delivery.created),
        }
        for delivery in call.world.webhooks.deliveries()
        if delivery.event_id == event["event_id"]
    ]
    return ok(event={**event, "webhooks": sent})
