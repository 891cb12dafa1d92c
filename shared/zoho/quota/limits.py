"""Describe Zoho's limits as data: what a plan allows, and how priorities share it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

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


# Calls at the same time on the lowest plan of each product.
LOWEST_IN_FLIGHT: Final = 5


@dataclass(frozen=True)
class QuotaLimits:
    """The limits of one organization in one product. `None` = no such limit, or not known.

    calls: requests in any `window_s` seconds. in_flight: requests at the same time, of which
    heavy_in_flight heavy ones.
    credits: of a day, which begins at midnight in `zone`, or of rolling 24 h when `zone` is None.
    day_limit_suspected_after_s: where one 429 stands for two limits, how long refusals may last
    before they count as the day's. None where Zoho says which it is.
    """

    calls: int | None
    window_s: float
    in_flight: int | None
    credits: int | None
    zone: str | None
    day_limit_suspected_after_s: float | None = None
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


@dataclass(frozen=True, kw_only=True)
class ProductQuota:
    """How Zoho limits the calls of one product, and the settings that say which limits apply.

    `plan_setting` and `users_setting` name the fields of the settings that hold the organization's
    plan and the number of its users. `calls_a_minute`: on every plan. `has_rolling_day`: the day is
    the last 24 hours, and does not begin at midnight. The rest is as in `QuotaLimits`.
    """

    plans: Mapping[str, PlanQuota]
    plan_setting: str
    users_setting: str | None = None
    calls_a_minute: int | None = None
    has_rolling_day: bool = False
    day_limit_suspected_after_s: float | None = None
    heavy_in_flight: int | None = None

    def limits(self, *, plan: str | None = None, users: int = 1, zone: str = "UTC") -> QuotaLimits:
        """Return the limits of a plan. Without one: the lowest concurrency, and none of ours a day.

        Calls past a limit that we do not know of are refused by Zoho and wait. A limit guessed
        too low would stop an organization that paid for more. Headers name the day's limit soon
        enough. `zone` (IANA) decides when a day begins.

        Raises:
            ValueError: no such plan. The message names those there are.
        """
        if plan is not None and plan not in self.plans:
            raise ValueError(f"there is no plan {plan!r}; there are {', '.join(self.plans)}")
        known = self.plans[plan] if plan else None
        return QuotaLimits(
            calls=self.calls_a_minute,
            window_s=60.0 if self.calls_a_minute else 0.0,
            in_flight=known.in_flight if known else LOWEST_IN_FLIGHT,
            credits=known.credits_for(users) if known else None,
            zone=None if self.has_rolling_day else zone,
            day_limit_suspected_after_s=self.day_limit_suspected_after_s,
            heavy_in_flight=self.heavy_in_flight,
        )
