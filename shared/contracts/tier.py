"""The tier of a user, from all the subscriptions that user ever had."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

# Zoho's words: trial live future unpaid dunning non_renewing cancelled cancelled_from_dunning
# expired trial_expired creation_failed paused. Source: oas/billing/subscriptions.yml; `paused`
# from the event list of Billing's webhooks.
_PAYING = frozenset({"live", "future", "unpaid", "dunning", "non_renewing", "paused"})
_ENDED = frozenset({"expired", "trial_expired"})
_IN_USE = frozenset({"trial", "live", "unpaid", "dunning", "non_renewing"})


class Tier(StrEnum):
    """Also the CRM tag of that name."""

    PAID = "Paid Tier"
    TRIAL = "Trial"
    FREE = "Free Tier"
    CHURNED = "Churned"


@dataclass(frozen=True, slots=True)
class Held:
    """A subscription of the user: Zoho's status and the plan's code."""

    status: str
    plan_code: str | None


def tier(held: Iterable[Held], free_plan_codes: Collection[str] = ()) -> Tier:
    """The first tier that holds: paid, trial, free, churned, else free.

    `creation_failed` and statuses that we do not know count for nothing.
    """
    of = list(held)
    if any(s.status in _PAYING and s.plan_code not in free_plan_codes for s in of):
        return Tier.PAID
    if any(s.status == "trial" for s in of):
        return Tier.TRIAL
    if any(s.status in _PAYING for s in of):  # on a free plan, or the line above had it
        return Tier.FREE
    if any(has_ended(s.status) for s in of):
        return Tier.CHURNED
    return Tier.FREE


def has_ended(status: str) -> bool:
    """Over for good: cancelled, cancelled from dunning, expired, trial expired."""
    return status.startswith("cancelled") or status in _ENDED


def is_active(status: str) -> bool:
    """Whether the user may use what was subscribed to now: `future` not yet, `paused` not now."""
    return status in _IN_USE
