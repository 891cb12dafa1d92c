"""Serve add-ons, keyed by the organization's own codes: recurring ones, and one-time ones.

Source: https://www.zoho.com/billing/api/v1/addons/.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from services.zoho_sandbox.finance.dialect import invalid, money, not_found, ok, page
from services.zoho_sandbox.server.routes import ApiCall, Routes
from services.zoho_sandbox.server.tables import Record
from services.zoho_sandbox.server.world import World

_SCOPE = "ZohoSubscriptions.addons.READ"
_ADDONS = (
    ("extra-seat", "Extra seat", 5.0, "recurring"),
    ("onboarding", "Onboarding", 30.0, "one_time"),
)


def add_routes(routes: Routes) -> None:
    routes.add("GET", "/addons", "list_addons", _list, scope=_SCOPE)
    routes.add("GET", "/addons/{addon_code}", "retrieve_addon", _retrieve, scope=_SCOPE)


def initial_addons(world: World) -> None:
    now = world.clock.finance_time()
    world.table("billing", "addons").load(
        {
            "addon_code": code,
            "name": name,
            "unit_name": "",
            "pricing_scheme": "unit",
            "price_brackets": [{"price": price}],
            "type": kind,
            "interval_unit": "monthly" if kind == "recurring" else "",
            "applicable_to_all_plans": True,
            "plans": [],
            "status": "active",
            "product_id": "",
            "description": "",
            "product_type": "service",
            "tags": [],
            "custom_fields": [],
            "created_time": now,
            "updated_time": now,
        }
        for code, name, price, kind in _ADDONS
    )


def chosen_addons(world: World, sent: Any, *, kinds: tuple[str, ...]) -> list[Record]:
    """Return the add-ons of a request, as a subscription has them.

    Raises: Rejected: there is none of this code, or it is of another kind.
    """
    return [_chosen(world, item, kinds) for item in sent or []]


def total_of(addons: list[Record]) -> float:
    """Return the sum of the add-ons' totals."""
    return round(sum(float(addon["total"]) for addon in addons), 2)


def _chosen(world: World, item: dict[str, Any], kinds: tuple[str, ...]) -> Record:
    addon = world.table("billing", "addons").get(str(item.get("addon_code")))
    if addon is None or addon["status"] != "active" or addon["type"] not in kinds:
        raise invalid("addon_code")
    price = money(item.get("price", addon["price_brackets"][0]["price"]))
    quantity = int(item.get("quantity", 1))
    if quantity < 1:
        raise invalid("quantity")
    return {
        "addon_code": addon["addon_code"],
        "name": addon["name"],
        "type": addon["type"],
        "quantity": quantity,
        "price": price,
        "discount": 0,
        "total": round(price * quantity, 2),
        "addon_description": "",
        "tags": [],
        "item_custom_fields": [],
    }


async def _list(call: ApiCall) -> web.Response:
    """List add-ons, by `AddonStatus.ACTIVE`, `INACTIVE`, `ONETIME` or `RECURRING`."""
    wanted = call.query("filter_by").removeprefix("AddonStatus.").lower()
    rows = call.world.table("billing", "addons").searched()
    if wanted in ("active", "inactive"):
        rows = [row for row in rows if row["status"] == wanted]
    elif wanted in ("onetime", "recurring"):
        rows = [row for row in rows if row["type"].replace("_", "") == wanted]
    return page(call, "addons", rows, filter_name="AddonStatus.All")


async def _retrieve(call: ApiCall) -> web.Response:
    addon = call.world.table("billing", "addons").get(call.path("addon_code"))
    if addon is None:
        raise not_found("Addon")
    return ok(addon=addon)
