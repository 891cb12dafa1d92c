"""Run Billing's own actions, and prepare its state for drivers: `/_sandbox/billing/…`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web

from services.zoho_sandbox.billing import lifecycle
from services.zoho_sandbox.billing.customers import add_card, expire_card
from services.zoho_sandbox.billing.events import announce
from services.zoho_sandbox.server.admin import AdminHandler, AdminRoutes, NoSuchRecord
from services.zoho_sandbox.server.tables import Record
from services.zoho_sandbox.server.world import World

StaffAction = Callable[[World, Record, dict[str, Any]], None]


def add_routes(routes: AdminRoutes, world: World) -> None:
    path = "/billing/subscriptions/{id}"
    routes.add(
        "POST", f"{path}/renew", _subscription_action(world, lambda w, s, _: lifecycle.renew(w, s))
    )
    routes.add("POST", f"{path}/fail_payment", _subscription_action(world, _fail_payment))
    routes.add(
        "POST",
        f"{path}/expire",
        _subscription_action(world, lambda w, s, _: lifecycle.expire(w, s)),
    )
    routes.add("POST", f"{path}/cancel", _subscription_action(world, _cancel))
    routes.add("POST", f"{path}/remind", _subscription_action(world, _remind))
    routes.add("POST", "/billing/customers/{id}/add_card", _card_added(world))
    routes.add("POST", "/billing/cards/{id}/expire", _card_expires(world))
    routes.add("POST", "/billing/customers/{id}/decline_next", _next_declined(world))
    routes.add("POST", "/billing/events", _any_event(world))


def _record(world: World, table: str, record_id: str) -> Record:
    record = world.table("billing", table).get(record_id)
    if record is None:
        raise NoSuchRecord(f"no such record in billing.{table}")
    return record


def _subscription_action(world: World, act: StaffAction) -> AdminHandler:
    async def run(request: web.Request, body: dict[str, Any]) -> Any:
        subscription = _record(world, "subscriptions", request.match_info["id"])
        act(world, subscription, body)
        return lifecycle.with_customer(world, subscription)

    return run


def _fail_payment(world: World, subscription: Record, body: dict[str, Any]) -> None:
    lifecycle.fail_payment(world, subscription)


def _cancel(world: World, subscription: Record, body: dict[str, Any]) -> None:
    """Cancel with `{at_term_end?: true, from_dunning?: true}`. The default is now and by hand."""
    if body.get("from_dunning"):
        lifecycle.end(world, subscription, "cancelled_from_dunning", "subscription_cancelled")
    else:
        lifecycle.cancel(world, subscription, at_term_end=bool(body.get("at_term_end")))


def _remind(world: World, subscription: Record, body: dict[str, Any]) -> None:
    """Announce `{event_type}`: trial_expiring, subscription_ahead or subscription_expiring."""
    lifecycle.remind(world, subscription, str(body["event_type"]))


def _card_expires(world: World) -> AdminHandler:
    """Announce `card_expiring` with `{soon: true}`, or else `card_expired`."""

    async def expire(request: web.Request, body: dict[str, Any]) -> Any:
        card = _record(world, "cards", request.match_info["id"])
        expire_card(world, card, soon=bool(body.get("soon")))
        return card

    return expire


def _card_added(world: World) -> AdminHandler:
    async def add(request: web.Request, body: dict[str, Any]) -> Any:
        owner = _record(world, "customers", request.match_info["id"])
        return add_card(world, owner["customer_id"], str(body.get("last_four_digits", "1111")))

    return add


def _next_declined(world: World) -> AdminHandler:
    """Decline the customer's next charges: `{times?: 1}`."""

    async def decline(request: web.Request, body: dict[str, Any]) -> Any:
        owner = _record(world, "customers", request.match_info["id"])
        owner["_declines"] = int(owner.get("_declines", 0)) + int(body.get("times", 1))
        return {"declines": owner["_declines"]}

    return decline


def _any_event(world: World) -> AdminHandler:
    """Log and send any event as Billing would: `{event_type, data}`."""

    async def announce_event(request: web.Request, body: dict[str, Any]) -> Any:
        return announce(world, str(body["event_type"]), dict(body.get("data") or {}))

    return announce_event
