"""Serve Billing's subscriptions. `lifecycle` has the changes that the calls cause.

`reference_contains` finds substrings. The list has no plan. A subscription names its invoice only
by `child_invoice_id`. Source: https://www.zoho.com/billing/api/v1/subscription/.
"""

from __future__ import annotations

from aiohttp import web

from services.zoho_sandbox.billing import lifecycle
from services.zoho_sandbox.billing.addons import chosen_addons, total_of
from services.zoho_sandbox.billing.coupons import redeem
from services.zoho_sandbox.billing.customers import customer, new_customer
from services.zoho_sandbox.billing.plans import plan
from services.zoho_sandbox.billing.subscription_record import (
    new_subscription,
    plan_terms,
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
from services.zoho_sandbox.server.routes import ApiCall, Routes
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
    path = "/subscriptions/{subscription_id}"
    routes.add("POST", "/subscriptions", "create_subscription", _create, scope=create)
    routes.add("GET", "/subscriptions", "list_subscriptions", _list, scope=read)
    routes.add("GET", path, "retrieve_subscription", _retrieve, scope=read)
    routes.add(
        "PUT", path, "update_subscription", _update, scope="ZohoSubscriptions.subscriptions.UPDATE"
    )
    routes.add(
        "DELETE",
        path,
        "delete_subscription",
        _delete,
        scope="ZohoSubscriptions.subscriptions.DELETE",
    )
    routes.add("POST", f"{path}/buyonetimeaddon", "buy_one_time_addon", _buy_addons, scope=create)
    routes.add(
        "POST", f"{path}/coupons/{{coupon_code}}", "associate_coupon", _add_coupon, scope=create
    )
    routes.add("DELETE", f"{path}/coupons", "remove_coupon", _remove_coupon, scope=create)
    routes.add("POST", f"{path}/cancel", "cancel_subscription", _cancel, scope=create)
    routes.add("POST", f"{path}/reactivate", "reactivate_subscription", _reactivate, scope=create)
    routes.add("POST", f"{path}/charge", "add_charge", _charge, scope=create)
    routes.add("POST", f"{path}/reference", "update_reference", _reference, scope=create)
    routes.add("POST", f"{path}/autocollect", "change_auto_collect", _auto_collect, scope=create)
    routes.add(
        "GET", f"{path}/scheduledchanges", "view_scheduled_changes", _scheduled_changes, scope=read
    )


def subscription(world: World, subscription_id: object) -> Record:
    """Return the subscription. Raises: Rejected: there is none with this id."""
    record = world.table("billing", "subscriptions").get(str(subscription_id))
    if record is None:
        raise not_found("Subscription")
    return record


async def _create(call: ApiCall) -> web.Response:
    world, sent = call.world, call.json()
    wanted = sent.get("plan") or {}
    chosen = plan(world, wanted.get("plan_code"))
    if sent.get("customer_id"):
        owner = customer(world, sent["customer_id"])
    elif sent.get("customer"):
        owner = new_customer(world, sent["customer"])
    else:
        raise invalid("customer_id")
    if owner["status"] != "active":
        raise Rejected(400, 3004, "The customer is inactive.")
    on = starting_day(sent.get("starts_at"), world.clock.today())
    record = new_subscription(world, owner, chosen, sent)
    try:
        lifecycle.start(world, record, on=on, trial_days=trial_days_of(wanted, chosen))
    except lifecycle.Declined:
        raise Rejected(400, 3051, "The card was declined by the payment gateway.") from None
    return ok(
        "Subscription has been created successfully.",
        status=201,
        subscription=lifecycle.with_customer(world, record),
    )


async def _retrieve(call: ApiCall) -> web.Response:
    record = subscription(call.world, call.path("subscription_id"))
    return ok(subscription=lifecycle.with_customer(call.world, record))


async def _list(call: ApiCall) -> web.Response:
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


async def _update(call: ApiCall) -> web.Response:
    """Change a subscription. The plan's code is required even for other changes."""
    world, sent = call.world, call.json()
    record = subscription(world, call.path("subscription_id"))
    wanted = sent.get("plan") or {}
    if not wanted.get("plan_code"):
        raise invalid("plan_code")
    if record["status"] in lifecycle.ENDED:
        raise Rejected(400, 3007, "An ended subscription cannot be changed.")
    chosen = plan(world, wanted["plan_code"])
    terms = plan_terms(wanted, chosen)
    addons = record["addons"]
    if "addons" in sent:
        addons = chosen_addons(world, sent["addons"], kinds=("recurring",))
    change = {
        "name": f"Application-{chosen['name']}",
        "plan": terms,
        "addons": addons,
        "amount": round(terms["total"] + total_of(addons), 2),
        "interval": chosen["interval"],
        "interval_unit": chosen["interval_unit"],
    }
    if sent.get("end_of_term"):
        record.update(end_of_term=True, _scheduled=change)
        lifecycle.save_subscription(world, record)
    else:
        _change_now(world, record, change)
    return ok(
        "Subscription has been updated successfully.",
        subscription=lifecycle.with_customer(world, record),
    )


def _change_now(world: World, record: Record, change: Record) -> None:
    """Bill or credit the difference of the two prices. The same plan and price is no change."""
    difference = round(change["amount"] - record["amount"], 2)
    same = change["plan"]["plan_code"] == record["plan"]["plan_code"] and difference == 0
    record.update(change)
    record.pop("_scheduled", None)
    record["end_of_term"] = False
    if same:
        lifecycle.save_subscription(world, record)
        return
    if record["status"] == "live":
        lifecycle.bill_difference(world, record, difference)
    lifecycle.save_subscription(world, record)
    event = "subscription_upgraded" if difference > 0 else "subscription_downgraded"
    lifecycle.announce_subscription(world, event, record)


async def _delete(call: ApiCall) -> web.Response:
    lifecycle.delete(call.world, subscription(call.world, call.path("subscription_id")))
    return ok("The subscription has been deleted.")


async def _buy_addons(call: ApiCall) -> web.Response:
    """Sell one-time add-ons at once. The answer holds their invoice."""
    record, sent = subscription(call.world, call.path("subscription_id")), call.json()
    addons = chosen_addons(call.world, sent.get("addons"), kinds=("one_time",))
    if not addons or record["status"] in lifecycle.ENDED:
        raise invalid("addons")
    bill = lifecycle.buy_addons(call.world, record, addons)
    return ok("One-time addon has been purchased successfully.", invoice=shown(bill))


async def _add_coupon(call: ApiCall) -> web.Response:
    record = subscription(call.world, call.path("subscription_id"))
    record["coupon"] = redeem(call.world, call.path("coupon_code"), record["amount"])
    lifecycle.save_subscription(call.world, record)
    return ok("The coupon has been added to the subscription.")


async def _remove_coupon(call: ApiCall) -> web.Response:
    record = subscription(call.world, call.path("subscription_id"))
    record["coupon"] = {}
    lifecycle.save_subscription(call.world, record)
    return ok("The coupon has been removed from the subscription.")


async def _cancel(call: ApiCall) -> web.Response:
    """Cancel. `cancel_at_end` is a query parameter, and a body is not read."""
    record = subscription(call.world, call.path("subscription_id"))
    if record["status"] in lifecycle.ENDED:
        raise Rejected(400, 3008, "The subscription has been cancelled already.")
    at_term_end = call.query("cancel_at_end") == "true"
    lifecycle.cancel(call.world, record, at_term_end=at_term_end)
    return ok(
        "Your subscription will be canceled at the end of this term."
        if at_term_end
        else "Your subscription has been canceled.",
        subscription=lifecycle.with_customer(call.world, record),
    )


async def _reactivate(call: ApiCall) -> web.Response:
    record = subscription(call.world, call.path("subscription_id"))
    if record["status"] != "non_renewing":
        raise Rejected(400, 3009, "Only a non-renewing subscription can be reactivated.")
    lifecycle.reactivate(call.world, record)
    return ok(
        "Subscription has been reactivated successfully.",
        subscription=lifecycle.with_customer(call.world, record),
    )


async def _charge(call: ApiCall) -> web.Response:
    record, sent = subscription(call.world, call.path("subscription_id")), call.json()
    amount = money(sent.get("amount"))
    if amount == 0 or record["status"] in lifecycle.ENDED:
        raise invalid("amount")
    bill = lifecycle.charge(call.world, record, amount, str(sent.get("description", "")))
    return ok("One time charge has been added successfully.", invoice=shown(bill))


async def _reference(call: ApiCall) -> web.Response:
    record = subscription(call.world, call.path("subscription_id"))
    record["reference_id"] = str(call.json().get("reference_id", ""))
    lifecycle.save_subscription(call.world, record)
    return ok(
        "Subscription has been updated successfully.",
        subscription=lifecycle.with_customer(call.world, record),
    )


async def _auto_collect(call: ApiCall) -> web.Response:
    record = subscription(call.world, call.path("subscription_id"))
    record["auto_collect"] = bool(call.json().get("auto_collect"))
    lifecycle.save_subscription(call.world, record)
    return ok(
        "Auto charge Status has been changed successfully.",
        subscription=lifecycle.with_customer(call.world, record),
    )


async def _scheduled_changes(call: ApiCall) -> web.Response:
    record = subscription(call.world, call.path("subscription_id"))
    change = record.get("_scheduled")
    if not change:
        raise Rejected(404, 1002, "There are no scheduled changes.")
    return ok(subscription={**lifecycle.with_customer(call.world, record), **change})
