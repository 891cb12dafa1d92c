"""Take permits from the ledger, for tests."""

from __future__ import annotations

import asyncpg
import pytest

from shared.errors import RateLimited
from shared.zoho.quota.call import Call
from shared.zoho.quota.limits import QuotaLimits
from shared.zoho.quota.priority import Priority
from shared.zoho.quota.quota import Permit, Quota

ALL = dict.fromkeys(Priority, 1.0)
OPEN = QuotaLimits(
    calls=None,
    window_s=60.0,
    in_flight=None,
    credits=None,
    zone="UTC",
    shares=ALL,
    unpaced=ALL,
)
# Longer than any wait for a turn, a slot or a short window, on a slow machine too. Not a minute.
PATIENT_S = 30.0


def quota_of(pool: asyncpg.Pool, limits: QuotaLimits, **options: object) -> Quota:
    """One without patience, unless the options say otherwise.

    What a release notes is in the ledger when it returns, however slow the machine is.
    """
    defaults: dict[str, object] = {"longest_wait_s": 0.0, "note_within_s": 60.0}
    return Quota(pool, {"billing": limits}, **{**defaults, **options})  # type: ignore[arg-type]


async def take(
    quota: Quota,
    priority: Priority = Priority.COMMANDS,
    *,
    org: str = "default",
    weight: int = 1,
    heavy: bool = False,
    deadline_s: float = 60.0,
) -> Permit:
    call = Call(org, "billing", "list_plans", priority, weight, heavy, timeout_s=10.0)
    return await quota.take(call, write_within_s=deadline_s - call.timeout_s)


async def refused(
    quota: Quota, priority: Priority = Priority.COMMANDS, *, weight: int = 1
) -> RateLimited:
    with pytest.raises(RateLimited) as caught:
        await take(quota, priority, weight=weight)
    return caught.value


async def granted_or_not(quota: Quota, priority: Priority, *, weight: int) -> bool:
    try:
        await take(quota, priority, weight=weight)
    except RateLimited:
        return False
    return True
