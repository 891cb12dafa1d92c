"""Derive the cause of a subscription's change from the states before and after it.

Zoho's webhooks do not decide this. They come in any order, and some never come.
"""

from __future__ import annotations

from services.billing_worker.repositories.subscriptions import StoredSubscription
from services.billing_worker.subscriptions.user_tier import has_ended


def cause_of(before: StoredSubscription, after: StoredSubscription) -> str:
    """The `cause` of `subscription.changed.v1`."""
    if not before.status:
        return "requested" if after.origin == "application" else "created"
    if before.status != after.status:
        return _cause_of_status(before.status, after.status)
    if (before.plan_code, before.quantity) != (after.plan_code, after.quantity):
        return "changed"
    if before.term_ends_at and after.term_ends_at and before.term_ends_at < after.term_ends_at:
        return "renewed"
    return "changed"


def _cause_of_status(before: str, after: str) -> str:
    match before, after:
        case _, "expired" | "trial_expired":
            return "expired"
        case _, ended if has_ended(ended):
            return "cancelled"
        case _, "non_renewing":
            return "cancellation_scheduled"
        case _, "paused":
            return "paused"
        case _, "unpaid" | "dunning":
            return "payment_failed"
        case "unpaid" | "dunning", "live":
            return "payment_succeeded"
        case "non_renewing", _:
            return "reactivated"
        case "paused", _:
            return "resumed"
        case "trial" | "future", "live":
            return "activated"
        case _:
            return "changed"
