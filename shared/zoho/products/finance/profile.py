"""Hold what Billing and Books have in common: one platform with one way of answering."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from shared.zoho.call.known_answers import NOT_JSON
from shared.zoho.call.responses import Envelope
from shared.zoho.quota.limits import PlanQuota

# Source: docs/zoho/finance.md §4.2 (Books). Billing publishes no table. It is the same platform, so
# the same is expected. Unverified.
PLANS: Final[Mapping[str, PlanQuota]] = {
    "free": PlanQuota(5, 1_000),
    "standard": PlanQuota(10, 2_000),
    "professional": PlanQuota(10, 5_000),
    "premium": PlanQuota(10, 10_000),
    "elite": PlanQuota(10, 10_000),
    "ultimate": PlanQuota(10, 10_000),
}
# Source: docs/zoho/finance.md §2.3.
CALLS_A_MINUTE: Final = 100
CREDITS_LEFT_HEADERS: Final = ("X-Rate-Limit-Remaining",)


def _code(body: Mapping[str, Any]) -> object:
    """`{"code": 0, "message": …}` is a success. Another code is an error, whatever the status."""
    code = body.get("code", NOT_JSON)
    return "" if str(code) == "0" else code


ENVELOPE: Final = Envelope(_code, always_has_body=True)
