"""Take the limits that hold here: the plans', where the settings name no others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from shared.settings import ZohoCalls
from shared.zoho.quota.limits import ProductQuota, QuotaLimits


def limits_from(
    settings: ZohoCalls, quotas: Mapping[str, ProductQuota], zone: str
) -> dict[str, QuotaLimits]:
    """Return the limits by product.

    `settings` have the fields of each product too: its plan, and `zoho_<product>_calls_a_minute`,
    `..._credits_a_day`, `..._in_flight`. `zone`: the data centre's, in which a day begins.
    """
    return {product: _limits(settings, product, quota, zone) for product, quota in quotas.items()}


def _limits(settings: ZohoCalls, product: str, quota: ProductQuota, zone: str) -> QuotaLimits:
    def override(limit: str) -> int | None:
        value: int | None = getattr(settings, f"zoho_{product}_{limit}")
        return value

    limits = quota.limits(
        plan=getattr(settings, quota.plan_setting),
        users=getattr(settings, quota.users_setting) if quota.users_setting else 1,
        zone=zone,
    )
    for_all = settings.zoho_minute_calls if quota.calls_a_minute else None
    calls = override("calls_a_minute") or for_all or limits.calls
    return replace(
        limits,
        calls=calls,
        window_s=(settings.zoho_window_s or limits.window_s or 60.0) if calls else 0.0,
        in_flight=override("in_flight") or limits.in_flight,
        credits=override("credits_a_day") or limits.credits,
    )
