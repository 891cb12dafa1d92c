"""Serve plans, keyed by the organization's own codes, and compute a term's length."""

from __future__ import annotations

import calendar
from datetime import date

from aiohttp import web

from services.zoho_sandbox.finance.dialect import invalid, not_found, ok, page
from services.zoho_sandbox.server.routes import ApiCall, Routes
from services.zoho_sandbox.server.tables import Record
from services.zoho_sandbox.server.world import World

_PLANS = (
    ("free", "Free", 0.0, 1, "months"),
    ("basic-monthly", "Basic Monthly", 19.0, 1, "months"),
    ("pro-monthly", "Pro Monthly", 49.0, 1, "months"),
    ("pro-yearly", "Pro Yearly", 490.0, 1, "years"),
)


def add_routes(routes: Routes) -> None:
    scope = "ZohoSubscriptions.plans.READ"
    routes.add("GET", "/plans", "list_plans", _list, scope=scope)
    routes.add("GET", "/plans/{plan_code}", "retrieve_plan", _retrieve, scope=scope)


def define(world: World) -> None:
    world.define("billing", "products", key="product_id")
    world.define("billing", "plans", key="plan_code")

    world.start_with(_seed)


def _seed(world: World) -> None:
    product_id = world.ids.new("billing")
    now = world.clock.finance_time()
    world.table("billing", "products").load(
        [{"product_id": product_id, "name": "Application", "status": "active"}]
    )
    world.table("billing", "plans").load(
        {
            "plan_code": code,
            "name": name,
            "recurring_price": price,
            "interval": interval,
            "interval_unit": unit,
            "billing_cycles": -1,
            "trial_period": 0,
            "setup_fee": 0,
            "product_id": product_id,
            "product_type": "service",
            "status": "active",
            "addons": [],
            "url": f"https://billing.zoho.com/subscribe/{world.ids.new('billing')}/{code}",
            "created_time": now,
            "updated_time": now,
        }
        for code, name, price, interval, unit in _PLANS
    )


def plan(world: World, code: object) -> Record:
    """Return the plan. Raises: Rejected: there is none of this code, or it is not sold any more."""
    record = world.table("billing", "plans").get(str(code))
    if record is None or record["status"] != "active":
        raise invalid("plan_code")
    return record


def term_end(start: date, interval: int, unit: str) -> date:
    """Return the day on which the next term starts. A short month ends earlier (31 → 28)."""
    months = interval * (12 if unit == "years" else 1)
    year, month0 = divmod(start.year * 12 + start.month - 1 + months, 12)
    day = min(start.day, calendar.monthrange(year, month0 + 1)[1])
    return date(year, month0 + 1, day)


async def _list(call: ApiCall) -> web.Response:
    wanted = call.query("filter_by").removeprefix("PlanStatus.").lower()
    rows = call.world.table("billing", "plans").searched()
    if wanted in ("active", "inactive"):
        rows = [row for row in rows if row["status"] == wanted]
    return page(call, "plans", rows, filter_name="PlanStatus.All")


async def _retrieve(call: ApiCall) -> web.Response:
    record = call.world.table("billing", "plans").get(call.path("plan_code"))
    if record is None:
        raise not_found("Plan")
    return ok(plan=record)
