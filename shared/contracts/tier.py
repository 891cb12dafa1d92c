"""Name the tiers of a user. billing-worker decides which of them a user has."""

from __future__ import annotations

from enum import StrEnum


class Tier(StrEnum):
    """Also the CRM tag of that name."""

    PAID = "Paid Tier"
    TRIAL = "Trial"
    FREE = "Free Tier"
    CHURNED = "Churned"
