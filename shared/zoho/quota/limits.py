"""Zoho's limits as data: what a plan allows, and how priorities share it.

Sources: Books §4.2 and Billing §2.3 of the finance reference. CRM §1.5 and Desk §2.5 of the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.zoho import waits
from shared.zoho.quota.priority import Priority

# The part of every limit that a priority may use. The rest is kept for those above it. Each figure
# is what it can count on when all those below it are full.
SHARES: Mapping[Priority, float] = {
    Priority.URGENT: 1.0,
    Priority.COMMANDS: 0.8,
    Priority.READS: 0.7,
    Priority.BACKFILL: 0.6,
}

# Up to this part of the day's credits a priority is not paced. From there on its share of what is
# left is spread over the hours left. docs/decisions/0030-the-days-credits-are-paced.md
UNPACED: Mapping[Priority, float] = {
    Priority.URGENT: 1.0,
    Priority.COMMANDS: SHARES[Priority.READS],
    Priority.READS: 0.35,
    Priority.BACKFILL: 0.2,
}


@dataclass(frozen=True)
class QuotaLimits:
    """The limits of one organization in one product. `None` = no such limit, or not known.

    calls: requests in any `window_s` seconds. in_flight: requests at the same time, of which
    heavy_in_flight heavy ones.
    credits: of a day, which begins at midnight in `zone`, or of rolling 24 h when `zone` is None.
    refusal_patience_s: where one 429 stands for two limits, how long refusals may last before
    they count as the day's. None where Zoho says which it is.
    """

    calls: int | None
    window_s: float
    in_flight: int | None
    credits: int | None
    zone: str | None
    refusal_patience_s: float | None = None
    heavy_in_flight: int | None = None
    shares: Mapping[Priority, float] = field(default_factory=lambda: SHARES)
    unpaced: Mapping[Priority, float] = field(default_factory=lambda: UNPACED)


@dataclass(frozen=True)
class PlanQuota:
    """A plan or edition: calls at the same time, credits a day (`at_most`, however many users)."""

    in_flight: int
    credits: int
    per_user: int = 0
    at_most: int | None = None

    def credits_for(self, users: int) -> int:
        total = self.credits + self.per_user * users
        return total if self.at_most is None else min(total, self.at_most)


_BOOKS = {
    "free": PlanQuota(5, 1_000),
    "standard": PlanQuota(10, 2_000),
    "professional": PlanQuota(10, 5_000),
    "premium": PlanQuota(10, 10_000),
    "elite": PlanQuota(10, 10_000),
    "ultimate": PlanQuota(10, 10_000),
}
_CRM_STANDARD = PlanQuota(10, 50_000, 250, 100_000)
_CRM_ENTERPRISE = PlanQuota(20, 50_000, 1_000, 5_000_000)
_CRM_ULTIMATE = PlanQuota(25, 50_000, 2_000)
_DESK_ENTERPRISE = PlanQuota(25, 100_000, 1_000)

PLANS: Mapping[str, Mapping[str, PlanQuota]] = {
    # Billing publishes no table. It is the same platform, so Books' is expected. Unverified.
    "billing": _BOOKS,
    "books": _BOOKS,
    "crm": {
        "free": PlanQuota(5, 5_000),
        "standard": _CRM_STANDARD,
        "starter": _CRM_STANDARD,
        "professional": PlanQuota(15, 50_000, 500, 3_000_000),
        "enterprise": _CRM_ENTERPRISE,
        "one": _CRM_ENTERPRISE,
        "ultimate": _CRM_ULTIMATE,
        "crm_plus": _CRM_ULTIMATE,
    },
    "desk": {
        "free": PlanQuota(5, 5_000),
        "express": PlanQuota(10, 25_000, 100),
        "standard": PlanQuota(10, 50_000, 250),
        "professional": PlanQuota(15, 75_000, 500),
        "enterprise": _DESK_ENTERPRISE,
        "one": _DESK_ENTERPRISE,
        "crm_plus": _DESK_ENTERPRISE,
    },
}


def limits_of(
    product: str, *, plan: str | None = None, users: int = 1, zone: str = "UTC"
) -> QuotaLimits:
    """The limits of a plan. Without a plan: the lowest concurrency, and no limit of ours per day.

    Calls past a limit that we do not know of are refused by Zoho and wait. A limit guessed too
    low would stop an organization that paid for more. Headers name the day's limit soon enough.
    `zone` (IANA) decides when the day of Billing, Books and Desk begins. CRM counts 24 h.

    Raises:
        ValueError: no such plan. The message names those there are.
    """
    plans = PLANS[product]
    if plan is not None and plan not in plans:
        raise ValueError(f"{product} has no plan {plan!r}; there are {', '.join(plans)}")
    known = plans[plan] if plan else None
    finance = product in ("billing", "books")
    return QuotaLimits(
        calls=100 if finance else None,
        window_s=60.0 if finance else 0.0,
        in_flight=known.in_flight if known else 5,
        credits=known.credits_for(users) if known else None,
        zone=None if product == "crm" else zone,
        refusal_patience_s=waits.AMBIGUOUS_LIMIT_PATIENCE_S if product == "crm" else None,
        # On every edition: writes of more than 10 rows, COQL, conversions, sorted lists (1.5).
        heavy_in_flight=10 if product == "crm" else None,
    )
