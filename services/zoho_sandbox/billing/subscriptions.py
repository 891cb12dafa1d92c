"""Subscriptions: the calls. What they set off is in `billing_lifecycle`.

`reference_contains` finds substrings; the list has no plan; the invoice is only named by
`child_invoice_id`. Source: oauth-billing-books §2.5;
https://www.zoho.com/billing/api/v1/subscription/.
"""

from __future__ import annotations

from aiohttp import web

from services.zoho_sandbox.billing import lifecycle
from services.zoho_sandbox.billing.customers import customer, new_customer
from services.zoho_sandbox.billing.plans import plan
from services.zoho_sandbox.billing.subscription_record import (
    chosen_plan,
    new_subscription,
    starting_day,
    trial_days_of,
)
from services.zoho_sandbox.finance.dialect import (
    Rejected,
    in_order,
    invalid,
    money,
    not_found,
    ok,
    page,
    shown,
)
from services.zoho_sandbox.server.routes import Call, Routes
from services.zoho_sandbox.server.tables import Record
from services.zoho_sandbox.server.world import World

_LISTED = [
    "customer_id",
    "subscription_id",
    "name",
    "status",
    "amount",
    "created_at",
    "activated_at",
    "current_term_ends_at",
    "current_term_starts_at",
    "last_billing_at",
    "next_billing_at",
    "expires_at",
    "interval",
    "interval_unit",
    "auto_collect",
    "created_time",
    "updated_time",
    "reference_id",
    "currency_code",
    "currency_symbol",
]
_GROUPS = {
    "ACTIVE": ("trial", "live", "future", "unpaid", "dunning", "non_renewing"),
    "PAST_DUE": ("unpaid", "dunning"),
}


def add_routes(routes: Routes) -> None:
    create, read = "ZohoSubscriptions.subscriptions.CREATE", "ZohoSubscriptions.subscriptions.READ"
    one = "/subscriptions/{subscription_id}"
    routes.add("POST", "/subscriptions", "create_subscription", _create, scope=create)
    routes.add("GET", "/subscriptions", "list_subscriptions", _list, scope=read)
    routes.add("GET", one, "retrieve_subscription", _retrieve, scope=read)
    routes.add(
        "PUT", one, "update_subscription", _update, scope="ZohoSubscriptions.subscriptions.UPDATE"
    )
    routes.add("POST", f"{one}/cancel", "cancel_subscription", _cancel, scope=create)
    routes.add("POST", f"{one}/reactivate", "reactivate_subscription", _reactivate, scope=create)
    routes.add("POST", f"{one}/charge", "add_charge", _charge, scope=create)
    routes.add("POST", f"{one}/reference", "update_reference", _reference, scope=create)
    routes.add("POST", f"{one}/autocollect", "change_auto_collect", _auto_collect, scope=create)
    routes.add("GET", f"{one}/scheduledchanges", "view_scheduled_changes", _scheduled, scope=read)


def subscription(world: World, subscription_id: object) -> Record:
    """Raises: Rejected: no such subscription."""
    found = world.table("billing", "subscriptions").get(str(subscription_id))
    if found is None:
        raise not_found("Subscription")
    return found


async def _create(call: Call) -> web.Response:
    world, given = call.world, call.json()
    wanted = given.get("plan") or {}
    sold = plan(world, wanted.get("plan_code"))
    if given.get("customer_id"):
        owner = customer(world, given["customer_id"])
    elif given.get("customer"):
        owner = new_customer(world, given["customer"])
    else:
        raise invalid("customer_id")
    if owner["status"] != "active":
        raise Rejected(400, 3004, "The customer is inactive.")
    on = starting_day(given.get("starts_at"), world.clock.today())
    record = new_subscription(world, owner, sold, given)
    try:
        lifecycle.start(world, record, on=on, trial_days=trial_days_of(wanted, sold))
    except lifecycle.Declined:
        raise Rejected(400, 3051, "The card was declined by the payment gateway.") from None
    return ok(
        "Subscription has been created successfully.",
        status=201,
        subscription=lifecycle.with_customer(world, record),
    )


async def _retrieve(call: Call) -> web.Response:
    found = subscription(call.world, call.path("subscription_id"))
    return ok(subscription=lifecycle.with_customer(call.world, found))


async def _list(call: Call) -> web.Response:
    rows = in_order(call, call.world.table("billing", "subscriptions").searched())
    if wanted := call.query("customer_id"):
        rows = [row for row in rows if row["customer_id"] == wanted]
    if wanted := call.query("reference_contains").lower():
        rows = [row for row in rows if wanted in row["reference_id"].lower()]
    kind, _, value = call.query("filter_by").partition(".")
    if kind == "SubscriptionStatus" and value != "All":
        statuses = _GROUPS.get(value, (value.lower(),))
        rows = [row for row in rows if row["status"] in statuses]
    elif kind == "SubscriptionMode":
        rows = [row for row in rows if row["auto_collect"] == (value == "ONLINE")]
    listed = [_listed(call.world, row) for row in rows]
    return page(call, "subscriptions", listed, filter_name="SubscriptionStatus.All")


def _listed(world: World, row: Record) -> Record:
    owner = customer(world, row["customer_id"])
    return {
        **{name: row[name] for name in _LISTED},
        "customer_name": owner["display_name"],
        "email": owner["email"],
        "plan_name": row["plan"]["name"],
    }


async def _update(call: Call) -> web.Response:
    """The plan's code is demanded even for other changes."""
    world, given = call.world, call.json()
    found = subscription(world, call.path("subscription_id"))
    wanted = given.get("plan") or {}
    if not wanted.get("plan_code"):
        raise invalid("plan_code")
    if found["status"] in lifecycle.ENDED:
        raise Rejected(400, 3007, "An ended subscription cannot be changed.")
    sold = plan(world, wanted["plan_code"])
    chosen = chosen_plan(wanted, sold)
    change = {
        "name": f"Application-{sold['name']}",
        "plan": chosen,
        "amount": chosen["total"],
        "interval": sold["interval"],
        "interval_unit": sold["interval_unit"],
    }
    if given.get("end_of_term"):
        found.update(end_of_term=True, _scheduled=change)
        lifecycle.keep(world, found)
    else:
        _change_now(world, found, change)
    return ok(
        "Subscription has been updated successfully.",
        subscription=lifecycle.with_customer(world, found),
    )


def _change_now(world: World, found: Record, change: Record) -> None:
    """The difference of the two prices is billed or credited; a change to the same is none."""
    difference = round(change["amount"] - found["amount"], 2)
    same = change["plan"]["plan_code"] == found["plan"]["plan_code"] and difference == 0
    found.update(change)
    found.pop("_scheduled", None)
    found["end_of_term"] = False
    if same:
        lifecycle.keep(world, found)
        return
    if found["status"] == "live":
        lifecycle.settle_difference(world, found, difference)
    lifecycle.keep(world, found)
    event = "subscription_upgraded" if difference > 0 else "subscription_downgraded"
    lifecycle.tell(world, event, found)


async def _cancel(call: Call) -> web.Response:
    """`cancel_at_end` is a query parameter; a body is not read."""
    found = subscription(call.world, call.path("subscription_id"))
    if found["status"] in lifecycle.ENDED:
        raise Rejected(400, 3008, "The subscription has been cancelled already.")
    at_term_end = call.query("cancel_at_end") == "true"
    lifecycle.cancel(call.world, found, at_term_end=at_term_end)
    return ok(
        "Your subscription will be canceled at the end of this term."
        if at_term_end
        else "Your subscription has been canceled.",
        subscription=lifecycle.with_customer(call.world, found),
    )


async def _reactivate(call: Call) -> web.Response:
    found = subscription(call.world, call.path("subscription_id"))
    if found["status"] != "non_renewing":
        raise Rejected(400, 3009, "Only a non-renewing subscription can be reactivated.")
    lifecycle.reactivate(call.world, found)
    return ok(
        "Subscription has been reactivated successfully.",
        subscription=lifecycle.with_customer(call.world, found),
    )


async def _charge(call: Call) -> web.Response:
    found, given = subscription(call.world, call.path("subscription_id")), call.json()
    amount = money(given.get("amount"))
    if amount == 0 or found["status"] in lifecycle.ENDED:
        raise invalid("amount")
    bill = lifecycle.charge(call.world, found, amount, str(given.get("description", "")))
    return ok("One time charge has been added successfully.", invoice=shown(bill))


async def _reference(call: Call) -> web.Response:
    found = subscription(call.world, call.path("subscription_id"))
    found["reference_id"] = str(call.json().get("reference_id", ""))
    lifecycle.keep(call.world, found)
    return ok(
        "Subscription has been updated successfully.",
        subscription=lifecycle.with_customer(call.world, found),
    )


async def _auto_collect(call: Call) -> web.Response:
    found = subscription(call.world, call.path("subscription_id"))
    found["auto_collect"] = bool(call.json().get("auto_collect"))
    lifecycle.keep(call.world, found)
    return ok(
        "Auto charge Status has been changed successfully.",
        subscription=lifecycle.with_customer(call.world, found),
    )


async def _scheduled(call: Call) -> web.Response:
    found = subscription(call.world, call.path("subscription_id"))
    change = found.get("_scheduled")
    if not change:
        raise Rejected(404, 1002, "There are no scheduled changes.")
    return ok(subscription={**lifecycle.with_customer(call.world, found), **change})
