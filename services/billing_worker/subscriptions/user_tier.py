"""Decide a user's tier (Paid, Trial, Free or Churned) from all the subscriptions of that user."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from shared.contracts.tier import Tier

# Zoho's words: trial live future unpaid dunning non_renewing cancelled cancelled_from_dunning
# expired trial_expired creation_failed paused. Source: Zoho's billing/subscriptions.yml. `paused`
# comes from the event list of Billing's webhooks.
_PAYING = frozenset({"live", "future", "unpaid", "dunning", "non_renewing", "paused"})
_ENDED = frozenset({"expired", "trial_expired"})
_IN_USE = frozenset({"trial", "live", "unpaid", "dunning", "non_renewing"})


@dataclass(frozen=True, slots=True)
class OwnedSubscription:
    """A subscription of the user: Zoho's status and the plan's code."""

    status: str
    plan_code: str | None


def tier_of(
    subscriptions: Iterable[OwnedSubscription], free_plan_codes: Collection[str] = ()
) -> Tier:
    """The first tier that applies: paid, trial, free, churned, else free.

    `creation_failed` and unknown statuses count for nothing.
    """
    owned = list(subscriptions)
    if any(s.status in _PAYING and s.plan_code not in free_plan_codes for s in owned):
        return Tier.PAID
    if any(s.status == "trial" for s in owned):
        return Tier.TRIAL
    if any(s.status in _PAYING for s in owned):  # only free plans are left here
        return Tier.FREE
    if any(has_ended(s.status) for s in owned):
        return Tier.CHURNED
    return Tier.FREE


def has_ended(status: str) -> bool:
    """Over for good: cancelled, cancelled from dunning, expired, trial expired."""
    return status.startswith("cancelled") or status in _ENDED


def is_active(status: str) -> bool:
    """Whether the user may use the plan now: not yet when `future`, not now when `paused`."""
    return status in _IN_USE
