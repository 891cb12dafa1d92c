"""Subscriptions: the calls. What they set off is in `billing_lifecycle`.

`reference_contains` finds substrings; the list has no plan; the invoice is only named by
`child_invoice_id`. Source: oauth-billing-books §2.5;
https://www.zoho.com/billing/api/v1/subscription/.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from aiohttp import web

from services.zoho_sandbox import billing_lifecycle as lifecycle
from services.zoho_sandbox.billing_customers import cards_of, customer, new_customer
from services.zoho_sandbox.billing_plans import discount, plan
from services.zoho_sandbox.finance import (
    Rejected,
    custom_fields,
    in_order,
    invalid,
    money,
    not_found,
    ok,
    page,
    shown,
)
from services.zoho_sandbox.routes import Call, Routes
from services.zoho_sandbox.tables import Record
from services.zoho_sandbox.world import World

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
    on = _day(given.get("starts_at"), world.clock.today())
    record = _new(world, owner, sold, given)
    trial_days = _trial_days(wanted, sold)
    try:
        lifecycle.start(world, record, on=on, trial_days=trial_days)
    except lifecycle.Declined:
        raise Rejected(400, 3051, "The card was declined by the payment gateway.") from None
    return ok(
        "Subscription has been created successfully.",
        status=201,
        subscription=lifecycle.with_customer(world, record),
    )


def _new(world: World, owner: Record, sold: Record, given: dict[str, Any]) -> Record:
    cards = cards_of(world, owner["customer_id"])
    auto_collect = bool(given.get("auto_collect", bool(cards)))
    if auto_collect and not cards:
        raise Rejected(400, 3052, "The customer has no card or bank account to collect from.")
    card_id = str(given.get("card_id") or "")
    if card_id and card_id not in [card["card_id"] for card in cards]:
        raise invalid("card_id")
    wanted, now = given["plan"], world.clock.finance_time()
    chosen = _chosen_plan(wanted, sold)
    coupon: Record = {}
    if code := given.get("coupon_code"):
        coupon = {"coupon_code": code, "discount_amount": discount(world, code, chosen["total"])}
    return world.table("billing", "subscriptions").add(
        {
            "subscription_id": world.ids.new("billing"),
            "customer_id": owner["customer_id"],
            "name": f"Application-{sold['name']}",
            "status": "future",
            "amount": chosen["total"],
            "created_at": world.clock.today().isoformat(),
            "activated_at": "",
            "current_term_starts_at": "",
            "current_term_ends_at": "",
            "last_billing_at": "",
            "next_billing_at": "",
            "expires_at": "",
            "interval": sold["interval"],
            "interval_unit": sold["interval_unit"],
            "auto_collect": auto_collect,
            "created_time": now,
            "updated_time": now,
            "reference_id": str(given.get("reference_id") or ""),
            "child_invoice_id": "",
            "currency_code": owner["currency_code"],
            "currency_symbol": "$",
            "end_of_term": False,
            "product_id": sold["product_id"],
            "product_name": "Application",
            "plan": chosen,
            "addons": [],
            "coupon": coupon,
            "card": _card(cards, card_id) if auto_collect else {},
            "payment_terms": 0,
            "payment_terms_label": "Due on receipt",
            "custom_fields": custom_fields(given.get("custom_fields")),
            "taxes": [],
            "contactpersons": [{"contactperson_id": owner["primary_contactperson_id"]}],
            "notes": [],
            "payment_gateways": [],
            "source": "api",
            "cancelled_at": "",
        }
    )


def _card(cards: list[Record], card_id: str) -> Record:
    card = next((one for one in cards if one["card_id"] == card_id), cards[0])
    shown_fields = (
        "card_id", "last_four_digits", "payment_gateway", "expiry_month", "expiry_year"
    )  # fmt: skip
    return {name: card[name] for name in shown_fields}


def _chosen_plan(wanted: dict[str, Any], sold: Record) -> Record:
    price = money(wanted.get("price", sold["recurring_price"]))
    quantity = int(wanted.get("quantity", 1))
    if quantity < 1:
        raise invalid("quantity")
    return {
        "plan_code": sold["plan_code"],
        "name": sold["name"],
        "quantity": quantity,
        "price": price,
        "discount": 0,
        "total": round(price * quantity, 2),
        "setup_fee": 0,
        "plan_description": "",
        "trial_days": _trial_days(wanted, sold),
        "tags": [],
        "item_custom_fields": [],
        "url": sold["url"],
    }


def _trial_days(wanted: dict[str, Any], sold: Record) -> int:
    """`plan.trial_days` wins, even over `exclude_trial`; a top-level field does not exist."""
    if wanted.get("trial_days") is not None:
        return max(0, int(wanted["trial_days"]))
    return 0 if wanted.get("exclude_trial") else int(sold["trial_period"])


def _day(text: Any, default: date) -> date:
    if not text:
        return default
    try:
        return date.fromisoformat(str(text))
    except ValueError as error:
        raise invalid("starts_at") from error


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
    chosen = _chosen_plan(wanted, sold)
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
