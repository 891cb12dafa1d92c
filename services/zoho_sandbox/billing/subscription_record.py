"""Build a new subscription from the fields of a request."""

from __future__ import annotations

from datetime import date
from typing import Any

from services.zoho_sandbox.billing.addons import chosen_addons, total_of
from services.zoho_sandbox.billing.coupons import redeem
from services.zoho_sandbox.billing.customers import cards_of
from services.zoho_sandbox.finance.dialect import Rejected, custom_fields, invalid, money
from services.zoho_sandbox.server.tables import Record
from services.zoho_sandbox.server.world import World


def new_subscription(world: World, owner: Record, plan: Record, sent: dict[str, Any]) -> Record:
    """Add a subscription of `owner` to `plan`. Raises: Rejected: a field's value is refused."""
    cards = cards_of(world, owner["customer_id"])
    auto_collect = bool(sent.get("auto_collect", bool(cards)))
    if auto_collect and not cards:
        raise Rejected(400, 3052, "The customer has no card or bank account to collect from.")
    card_id = str(sent.get("card_id") or "")
    if card_id and card_id not in [card["card_id"] for card in cards]:
        raise invalid("card_id")
    wanted, now = sent["plan"], world.clock.finance_time()
    terms = plan_terms(wanted, plan)
    addons = chosen_addons(world, sent.get("addons"), kinds=("recurring", "one_time"))
    recurring = [addon for addon in addons if addon["type"] == "recurring"]
    amount = round(terms["total"] + total_of(recurring), 2)
    code = str(sent.get("coupon_code") or "")
    return world.table("billing", "subscriptions").add(
        {
            "subscription_id": world.ids.new("billing"),
            "customer_id": owner["customer_id"],
            "name": f"Application-{plan['name']}",
            "status": "future",
            "amount": amount,
            "created_at": world.clock.today().isoformat(),
            "activated_at": "",
            "current_term_starts_at": "",
            "current_term_ends_at": "",
            "last_billing_at": "",
            "next_billing_at": "",
            "expires_at": "",
            "interval": plan["interval"],
            "interval_unit": plan["interval_unit"],
            "auto_collect": auto_collect,
            "created_time": now,
            "updated_time": now,
            "reference_id": str(sent.get("reference_id") or ""),
            "child_invoice_id": "",
            "currency_code": owner["currency_code"],
            "currency_symbol": "$",
            "end_of_term": False,
            "product_id": plan["product_id"],
            "product_name": "Application",
            "plan": terms,
            "addons": recurring,
            "_one_time_addons": [addon for addon in addons if addon["type"] == "one_time"],
            "coupon": redeem(world, code, amount) if code else {},
            "card": _card(cards, card_id) if auto_collect else {},
            "payment_terms": 0,
            "payment_terms_label": "Due on receipt",
            "custom_fields": custom_fields(sent.get("custom_fields")),
            "taxes": [],
            "contactpersons": [{"contactperson_id": owner["primary_contactperson_id"]}],
            "notes": [],
            "payment_gateways": [],
            "source": "api",
            "cancelled_at": "",
        }
    )


def _card(cards: list[Record], card_id: str) -> Record:
    card = next((row for row in cards if row["card_id"] == card_id), cards[0])
    shown_fields = (
        "card_id", "last_four_digits", "payment_gateway", "expiry_month", "expiry_year"
    )  # fmt: skip
    return {name: card[name] for name in shown_fields}


def plan_terms(wanted: dict[str, Any], plan: Record) -> Record:
    """Return the plan as the subscription holds it, with the price and quantity `wanted`."""
    price = money(wanted.get("price", plan["recurring_price"]))
    quantity = int(wanted.get("quantity", 1))
    if quantity < 1:
        raise invalid("quantity")
    return {
        "plan_code": plan["plan_code"],
        "name": plan["name"],
        "quantity": quantity,
        "price": price,
        "discount": 0,
        "total": round(price * quantity, 2),
        "setup_fee": 0,
        "plan_description": "",
        "trial_days": trial_days_of(wanted, plan),
        "tags": [],
        "item_custom_fields": [],
        "url": plan["url"],
    }


def trial_days_of(wanted: dict[str, Any], plan: Record) -> int:
    """Return the trial's days. `plan.trial_days` wins, even over `exclude_trial`."""
    if wanted.get("trial_days") is not None:
        return max(0, int(wanted["trial_days"]))
    return 0 if wanted.get("exclude_trial") else int(plan["trial_period"])


def starting_day(text: Any, default: date) -> date:
    """Parse `starts_at`. Raises: Rejected: it is no date."""
    if not text:
        return default
    try:
        return date.fromisoformat(str(text))
    except ValueError as error:
        raise invalid("starts_at") from error
