"""Describe Zoho CRM to code that treats all products alike.

Sources: docs/zoho/crm.md §1.1, §1.3 and §1.5. Scopes: the `security` of each operation in
Zoho's OpenAPI files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from shared.zoho import waits
from shared.zoho.call.operation import Operation
from shared.zoho.call.profile import Address, ProductProfile
from shared.zoho.call.responses import Envelope
from shared.zoho.products.crm.known_answers import KNOWN_ANSWERS
from shared.zoho.quota.limits import PlanQuota, ProductQuota

# Sandbox and developer organizations have hosts of their own in every data centre, and their tokens
# name one (crm.md §1.1). The other products are not served there.
_TEST_HOST_KINDS: Final = ("sandbox", "developer")

# Rows are answered under the name of what was sent.
_ROWS: Final = ("data", "watch", "tags", "users")

_STANDARD: Final = PlanQuota(10, 50_000, 250, 100_000)
_ENTERPRISE: Final = PlanQuota(20, 50_000, 1_000, 5_000_000)
_ULTIMATE: Final = PlanQuota(25, 50_000, 2_000)


def _code(body: Mapping[str, Any]) -> object:
    """Return the code of a flat error, else of the first row that failed."""
    if body.get("status") == "error" and "code" in body:
        return body["code"]
    return next((code for code in _codes_of_rows(body) if code), "")


def _codes_of_rows(body: Mapping[str, Any]) -> Sequence[object]:
    for name in _ROWS:
        rows = body.get(name)
        if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
            return [row.get("code", "") if row.get("status") == "error" else "" for row in rows]
    return ()


CRM: Final = ProductProfile(
    name="crm",
    address=Address("crm", "/crm", "/{version}", other_host_kinds=_TEST_HOST_KINDS),
    version="v8",
    envelope=Envelope(_code, _codes_of_rows),
    known_answers=KNOWN_ANSWERS,
    # They show once half of them are used (crm.md §1.5).
    credits_left_headers=("X-API-CREDITS-REMAINING",),
    quota=ProductQuota(
        plans={
            "free": PlanQuota(5, 5_000),
            "standard": _STANDARD,
            "starter": _STANDARD,
            "professional": PlanQuota(15, 50_000, 500, 3_000_000),
            "enterprise": _ENTERPRISE,
            "one": _ENTERPRISE,
            "ultimate": _ULTIMATE,
            "crm_plus": _ULTIMATE,
        },
        plan_setting="zoho_crm_edition",
        users_setting="zoho_crm_users",
        has_rolling_day=True,
        day_limit_suspected_after_s=waits.DAY_LIMIT_SUSPECTED_AFTER_S,
        # On every edition: writes of more than 10 rows, COQL, conversions, sorted lists
        # (crm.md §1.5).
        heavy_in_flight=10,
    ),
    scopes=(
        "ZohoCRM.modules.ALL",
        "ZohoCRM.coql.READ",
        "ZohoCRM.settings.fields.READ",
        "ZohoCRM.settings.tags.ALL",
        "ZohoCRM.notifications.ALL",
        "ZohoCRM.org.READ",
    ),
    probe=(Operation("crm", "get_org", "GET", repeatable=True), "/org"),
)
