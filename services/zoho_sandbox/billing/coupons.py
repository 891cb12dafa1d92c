"""Serve coupons, keyed by the organization's own codes, and compute their discounts.

Source: https://www.zoho.com/billing/api/v1/coupons/.
"""

from __future__ import annotations

from aiohttp import web

from services.zoho_sandbox.finance.dialect import Rejected, invalid, not_found, ok, page
from services.zoho_sandbox.server.routes import ApiCall, Routes
from services.zoho_sandbox.server.tables import Record
from services.zoho_sandbox.server.world import World

_SCOPE = "ZohoSubscriptions.coupons"
_LISTED_NOT = ("apply_to_plans", "plans", "apply_to_addons", "addons", "duration")


def add_routes(routes: Routes) -> None:
    path = "/coupons/{coupon_code}"
    routes.add("POST", "/coupons", "create_coupon", _create, scope=f"{_SCOPE}.CREATE")
    routes.add("GET", "/coupons", "list_coupons", _list, scope=f"{_SCOPE}.READ")
    routes.add("GET", path, "retrieve_coupon", _retrieve, scope=f"{_SCOPE}.READ")


def initial_coupons(world: World) -> None:
    world.table("billing", "coupons").load([_coupon(world, "WELCOME10", "Welcome", value=10.0)])


def active_coupon(world: World, coupon_code: str) -> Record:
    """Return the coupon. Raises: Rejected: there is none of this code, or it has expired."""
    coupon = world.table("billing", "coupons").get(coupon_code)
    today = world.clock.today().isoformat()
    if coupon is None or coupon["status"] != "active" or (coupon["expiry_at"] or today) < today:
        raise invalid("coupon_code")
    return coupon


def discount(coupon: Record, amount: float) -> float:
    """Return the coupon's discount on `amount`."""
    value = float(coupon["discount_value"])
    off = amount * value / 100 if coupon["discount_by"] == "percentage" else value
    return round(min(off, amount), 2)


def redeem(world: World, coupon_code: str, amount: float) -> Record:
    """Count one more use, and return the coupon as a subscription of this `amount` has it.

    Raises: Rejected: there is no such coupon, or it has no uses left.
    """
    coupon = active_coupon(world, coupon_code)
    most = coupon["max_redemption"]
    if most and coupon["redemption_count"] >= most:
        raise Rejected(400, 3014, "The coupon has been redeemed as often as it can be.")
    coupon["redemption_count"] += 1
    world.table("billing", "coupons").save(coupon)
    return {"coupon_code": coupon_code, "discount_amount": discount(coupon, amount)}


def discount_of_term(world: World, subscription: Record, amount: float, *, first: bool) -> float:
    """Return what the subscription's coupon takes off a term. Most coupons count for the first."""
    code = subscription["coupon"].get("coupon_code")
    coupon = world.table("billing", "coupons").get(code) if code else None
    if coupon is None or not (first or coupon["type"] == "forever"):
        return 0.0
    return discount(coupon, amount)


def _coupon(world: World, code: str, name: str, *, value: float, **more: object) -> Record:
    now = world.clock.finance_time()
    return {
        "coupon_code": code,
        "name": name,
        "description": "",
        "type": "one_time",
        "duration": 0,
        "status": "active",
        "discount_by": "percentage",
        "discount_value": value,
        "product_id": "",
        "max_redemption": 0,
        "redemption_count": 0,
        "expiry_at": "",
        "apply_to_plans": "all",
        "plans": [],
        "apply_to_addons": "all",
        "addons": [],
        "created_time": now,
        "updated_time": now,
        **more,
    }


async def _create(call: ApiCall) -> web.Response:
    sent = call.json()
    code, table = str(sent.get("coupon_code") or ""), call.world.table("billing", "coupons")
    if not code or not sent.get("name"):
        raise invalid("coupon_code or name")
    if table.get(code) is not None:
        raise Rejected(400, 3003, "A coupon with this code already exists.")
    value = float(sent.get("discount_value", 0))
    names = ("description", "type", "duration", "discount_by", "product_id", "max_redemption",
             "expiry_at", "apply_to_plans", "plans", "apply_to_addons", "addons")  # fmt: skip
    more = {name: sent[name] for name in names if name in sent}
    coupon = table.add(_coupon(call.world, code, str(sent["name"]), value=value, **more))
    return ok("The coupon has been created", status=201, coupon=coupon)


async def _list(call: ApiCall) -> web.Response:
    """List coupons, by `CouponStatus.ACTIVE` and the like."""
    wanted = call.query("filter_by").removeprefix("CouponStatus.").lower()
    rows = call.world.table("billing", "coupons").searched()
    if wanted in ("active", "inactive", "expired"):
        rows = [row for row in rows if row["status"] == wanted]
    listed = [{name: row[name] for name in row if name not in _LISTED_NOT} for row in rows]
    return page(call, "coupons", listed, filter_name="CouponStatus.All")


async def _retrieve(call: ApiCall) -> web.Response:
    coupon = call.world.table("billing", "coupons").get(call.path("coupon_code"))
    if coupon is None:
        raise not_found("Coupon")
    return ok(coupon=coupon)
