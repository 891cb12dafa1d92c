"""Move subscriptions through their life: start, end of trial, renewal, failure, expiry, cancelling.

Terms are days in the organization's time zone. An invoice is created when a paid term starts, and
charged to the card when the subscription collects automatically.
Source: https://www.zoho.com/billing/api/v1/subscription/ and https://www.zoho.com/billing/api/v1/events/.
"""

from __future__ import annotations

from datetime import date

from services.zoho_sandbox.billing.charges import charge_card
from services.zoho_sandbox.billing.coupons import discount_of_term
from services.zoho_sandbox.billing.customers import cards_of, customer
from services.zoho_sandbox.billing.events import announce
from services.zoho_sandbox.billing.invoices import new_invoice, save_invoice
from services.zoho_sandbox.billing.plans import term_end
from services.zoho_sandbox.finance.dialect import shown
from services.zoho_sandbox.server.tables import Record
from services.zoho_sandbox.server.world import World

# Sent 3 days before. Source: Zoho's OpenAPI for Billing, events.yml.
_REMINDERS = ("trial_expiring", "subscription_ahead", "subscription_expiring")
ENDED = ("cancelled", "cancelled_from_dunning", "expired", "trial_expired", "creation_failed")


class Declined(Exception):
    """The first charge failed, and the subscription is `creation_failed`."""


def save_subscription(world: World, subscription: Record) -> Record:
    """Save a changed subscription with its new `updated_time`."""
    subscription["updated_time"] = world.clock.finance_time()
    return world.table("billing", "subscriptions").save(subscription)


def announce_subscription(world: World, event_type: str, subscription: Record) -> None:
    """Log and send an event about the subscription."""
    announce(world, event_type, {"subscription": with_customer(world, subscription)})


def with_customer(world: World, subscription: Record) -> Record:
    """Return the subscription as Billing shows it, with its customer inside."""
    owner = customer(world, subscription["customer_id"])
    inside = ("customer_id", "display_name", "salutation", "first_name", "last_name", "email",
              "company_name", "billing_address", "shipping_address")  # fmt: skip
    record = {name: value for name, value in shown(subscription).items() if name != "customer_id"}
    return {**record, "customer": {name: owner[name] for name in inside}}


def start(world: World, subscription: Record, *, on: date, trial_days: int) -> None:
    """Start a subscription: in the future, on trial, or live with its first invoice.

    Raises: Declined: the first charge was declined.
    """
    today = world.clock.today()
    if on > today:
        subscription.update(status="future", next_billing_at=on.isoformat())
    elif trial_days > 0:
        ends = date.fromordinal(on.toordinal() + trial_days)
        subscription["status"] = "trial"
        _set_term(subscription, on, ends)
        subscription["trial_starts_at"], subscription["trial_ends_at"] = (
            on.isoformat(),
            ends.isoformat(),
        )
    else:
        _activate(world, subscription, on)
        if not _bill(world, subscription, on, "new", coupon=True):
            _fail_creation(world, subscription)
            raise Declined
    save_subscription(world, subscription)
    if on >= today:  # a backdated subscription raises no events
        announce_subscription(world, "subscription_created", subscription)
        if subscription["status"] == "live":
            announce_subscription(world, "subscription_activation", subscription)


def renew(world: World, subscription: Record) -> None:
    """End the term. Start the next one, or apply what was scheduled for the term's end."""
    match subscription["status"]:
        case "non_renewing":
            end(world, subscription, "cancelled", "subscription_cancelled")
        case "trial" | "future":
            on = _day(subscription["next_billing_at"], world.clock.today())
            _activate(world, subscription, on)
            paid = _bill(world, subscription, on, "new", coupon=False)
            _finish_billing(world, subscription, "subscription_activation", paid=paid)
        case _:
            _apply_scheduled(subscription)
            on = _next_term(world, subscription)
            paid = _bill(world, subscription, on, "renewal", coupon=False)
            _finish_billing(world, subscription, "subscription_renewed", paid=paid)


def fail_payment(world: World, subscription: Record) -> None:
    """Decline a payment that is due. The status becomes dunning with a card, unpaid without one."""
    bill = world.table("billing", "invoices").get(subscription["child_invoice_id"])
    owner = customer(world, subscription["customer_id"])
    if bill is None or bill["balance"] <= 0:
        on = _next_term(world, subscription)
        bill = _invoice(world, subscription, on, "renewal", coupon=False)
    if bill is None:
        raise ValueError("a free subscription has no payment that could fail")
    owner["_declines"] = int(owner.get("_declines", 0)) + 1
    cards = cards_of(world, owner["customer_id"])
    charge_card(world, bill, cards[0] if cards else _NO_CARD)
    bill["status"] = "overdue"
    save_invoice(world, bill)
    subscription["status"] = "dunning" if subscription["auto_collect"] else "unpaid"
    subscription["next_retry_at"] = world.clock.today().isoformat()
    save_subscription(world, subscription)
    if subscription["status"] == "unpaid":
        announce_subscription(world, "subscription_unpaid", subscription)


def cancel(world: World, subscription: Record, *, at_term_end: bool) -> None:
    """Cancel now, or at the end of the paid term. A second time changes nothing."""
    if subscription["status"] in ENDED:
        return
    if not at_term_end:
        end(world, subscription, "cancelled", "subscription_cancelled")
    elif subscription["status"] != "non_renewing":
        subscription.update(
            status="non_renewing",
            expires_at=subscription["current_term_ends_at"],
            next_billing_at="",
            _before_cancel=subscription["status"],
        )
        save_subscription(world, subscription)
        announce_subscription(world, "subscription_cancellation_scheduled", subscription)


def expire(world: World, subscription: Record) -> None:
    """End a subscription whose billing cycles, or whose trial, are over."""
    status = "trial_expired" if subscription["status"] == "trial" else "expired"
    end(world, subscription, status, "subscription_expired")


def end(world: World, subscription: Record, status: str, event_type: str) -> None:
    """Give the subscription a final status, and announce it."""
    today = world.clock.today().isoformat()
    subscription.update(status=status, next_billing_at="", expires_at=today)
    if status.startswith("cancelled"):
        subscription["cancelled_at"] = today
    save_subscription(world, subscription)
    announce_subscription(world, event_type, subscription)


def reactivate(world: World, subscription: Record) -> None:
    """Take a cancellation back. The caller has checked that the status is `non_renewing`."""
    subscription.update(
        status=subscription.pop("_before_cancel", "live"),
        next_billing_at=subscription["current_term_ends_at"],
        expires_at="",
    )
    save_subscription(world, subscription)
    announce_subscription(world, "subscription_reactivated", subscription)


def charge(world: World, subscription: Record, amount: float, description: str) -> Record:
    """Add a one-time charge. Returns its invoice, paid by card where there is one."""
    items = [{"name": description or "One time charge", "price": amount, "quantity": 1}]
    return _billed(world, subscription, items, world.clock.today(), "charge")


def buy_addons(world: World, subscription: Record, addons: list[Record]) -> Record:
    """Sell one-time add-ons. Returns their invoice, paid by card where there is one."""
    items = [_item_of(addon, addon["addon_code"]) for addon in addons]
    return _billed(world, subscription, items, world.clock.today(), "addon")


def remind(world: World, subscription: Record, event_type: str) -> None:
    """Announce what comes soon: the end of a trial, a renewal, the last term's end."""
    if event_type not in _REMINDERS:
        raise ValueError(f"no reminder of a subscription: {event_type}")
    announce_subscription(world, event_type, subscription)


def delete(world: World, subscription: Record) -> None:
    """Delete a subscription. Its invoices stay, and reads of it answer 404."""
    announce_subscription(world, "subscription_deleted", subscription)
    world.table("billing", "subscriptions").remove(subscription["subscription_id"])


def bill_difference(world: World, subscription: Record, difference: float) -> None:
    """Invoice the higher price after a change of plan, or credit the lower one."""
    if difference > 0:
        items = [{"name": f"Change to {subscription['name']}", "price": difference, "quantity": 1,
                  "code": subscription["plan"]["plan_code"]}]  # fmt: skip
        bill = _billed(world, subscription, items, world.clock.today(), "upgrade")
        subscription["child_invoice_id"] = bill["invoice_id"]
    elif difference < 0:
        owner = customer(world, subscription["customer_id"])
        owner["unused_credits"] = round(owner["unused_credits"] - difference, 2)
        world.table("billing", "customers").save(owner)


_NO_CARD: Record = {"card_id": "", "payment_gateway": "test_gateway", "last_four_digits": 0,
                    "expiry_month": 0, "expiry_year": 0}  # fmt: skip


def _fail_creation(world: World, subscription: Record) -> None:
    bill = world.table("billing", "invoices").get(subscription["child_invoice_id"])
    if bill is not None:
        bill.update(status="void", balance=0)
        save_invoice(world, bill)
    subscription.update(status="creation_failed", next_billing_at="")
    save_subscription(world, subscription)


def _day(text: str, default: date) -> date:
    return date.fromisoformat(text) if text else default


def _set_term(subscription: Record, start_on: date, ends_on: date) -> None:
    subscription.update(
        current_term_starts_at=start_on.isoformat(),
        current_term_ends_at=ends_on.isoformat(),
        next_billing_at=ends_on.isoformat(),
    )


def _activate(world: World, subscription: Record, on: date) -> None:
    subscription.update(status="live", activated_at=on.isoformat())
    interval, unit = subscription["interval"], subscription["interval_unit"]
    _set_term(subscription, on, term_end(on, interval, unit))


def _next_term(world: World, subscription: Record) -> date:
    on = _day(subscription["current_term_ends_at"], world.clock.today())
    interval, unit = subscription["interval"], subscription["interval_unit"]
    _set_term(subscription, on, term_end(on, interval, unit))
    return on


def _apply_scheduled(subscription: Record) -> None:
    change = subscription.pop("_scheduled", None)
    if change:
        subscription.update(change)
        subscription["end_of_term"] = False


def _invoice(
    world: World, subscription: Record, on: date, kind: str, *, coupon: bool
) -> Record | None:
    """Create the term's invoice. A free term has none."""
    plan = subscription["plan"]
    addons = [*subscription["addons"], *subscription.pop("_one_time_addons", [])]
    items = [_item_of(plan, plan["plan_code"])]
    items += [_item_of(addon, addon["addon_code"]) for addon in addons]
    amount = round(sum(item["price"] * item["quantity"] for item in items), 2)
    if amount <= 0:
        return None
    off = discount_of_term(world, subscription, amount, first=coupon)
    bill = new_invoice(
        world,
        customer(world, subscription["customer_id"]),
        items,
        on=on,
        kind=kind,
        subscription_id=subscription["subscription_id"],
        discount=off,
    )
    subscription.update(child_invoice_id=bill["invoice_id"], last_billing_at=on.isoformat())
    return bill


def _item_of(sold: Record, code: str) -> Record:
    return {
        "name": sold["name"],
        "code": code,
        "price": sold["price"],
        "quantity": sold["quantity"],
    }


def _bill(world: World, subscription: Record, on: date, kind: str, *, coupon: bool) -> bool:
    """Invoice the term and collect. Returns False when the card was declined."""
    bill = _invoice(world, subscription, on, kind, coupon=coupon)
    return bill is None or _collect(world, subscription, bill)


def _billed(world: World, subscription: Record, items: list[Record], on: date, kind: str) -> Record:
    owner = customer(world, subscription["customer_id"])
    bill = new_invoice(
        world, owner, items, on=on, kind=kind, subscription_id=subscription["subscription_id"]
    )
    _collect(world, subscription, bill)
    return bill


def _collect(world: World, subscription: Record, bill: Record) -> bool:
    cards = cards_of(world, subscription["customer_id"])
    if not subscription["auto_collect"] or not cards:
        return True
    payment = charge_card(world, bill, cards[0])
    save_invoice(world, bill)
    return bool(payment["status"] == "success")


def _finish_billing(world: World, subscription: Record, event_type: str, *, paid: bool) -> None:
    subscription["status"] = "live" if paid else "dunning"
    save_subscription(world, subscription)
    announce_subscription(world, event_type, subscription)
