"""Describe Zoho Desk to code that treats all products alike.

Sources: docs/zoho/desk.md §2.1, §2.2, §2.4 to §2.6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from shared.zoho.call.operation import Operation
from shared.zoho.call.profile import Address, ProductProfile
from shared.zoho.call.responses import Envelope
from shared.zoho.products.desk.known_answers import KNOWN_ANSWERS
from shared.zoho.quota.limits import PlanQuota, ProductQuota

# Desk is never served by the host that the token names. That of `uk` is in no source we saw.
HOSTS: Final = {
    "us": "desk.zoho.com",
    "eu": "desk.zoho.eu",
    "in": "desk.zoho.in",
    "au": "desk.zoho.com.au",
    "jp": "desk.zoho.jp",
    "ca": "desk.zohocloud.ca",
    "sa": "desk.zoho.sa",
    "cn": "desk.zoho.com.cn",
    "uk": "desk.zoho.uk",
    "ae": "desk.zoho.ae",
}

_ENTERPRISE: Final = PlanQuota(25, 100_000, 1_000)


def _code(body: Mapping[str, Any]) -> object:
    return body.get("errorCode", "")


def _refused_fields(body: Mapping[str, Any]) -> Sequence[object]:
    listed = body.get("errors")
    errors = listed if isinstance(listed, list) else []
    return [error.get("fieldName") for error in errors if isinstance(error, dict)]


DESK: Final = ProductProfile(
    name="desk",
    address=Address("desk", "/api/v1", hosts=HOSTS),
    organization_header="orgId",
    envelope=Envelope(_code, refused_fields_of=_refused_fields),
    known_answers=KNOWN_ANSWERS,
    credits_left_headers=("X-Rate-Limit-Remaining", "X-Rate-Limit-Remaining-v3"),
    quota=ProductQuota(
        plans={
            "free": PlanQuota(5, 5_000),
            "express": PlanQuota(10, 25_000, 100),
            "standard": PlanQuota(10, 50_000, 250),
            "professional": PlanQuota(15, 75_000, 500),
            "enterprise": _ENTERPRISE,
            "one": _ENTERPRISE,
            "crm_plus": _ENTERPRISE,
        },
        plan_setting="zoho_desk_edition",
        users_setting="zoho_desk_agents",
    ),
    scopes=(
        "Desk.tickets.CREATE",
        "Desk.tickets.READ",
        "Desk.tickets.UPDATE",
        "Desk.contacts.READ",
        "Desk.contacts.UPDATE",
        "Desk.search.READ",
        "Desk.basic.READ",
        "Desk.settings.READ",
        "Desk.events.READ",
    ),
    # It needs no scope that tickets do not need.
    probe=(
        Operation("desk", "list_tickets", "GET", repeatable=True, weight=3),
        "/tickets?limit=1",
    ),
)
