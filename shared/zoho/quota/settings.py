"""The limits that hold here: the plans', where the settings name no others."""

from __future__ import annotations

from dataclasses import replace

from shared.settings import ZohoCalls
from shared.zoho.quota.limits import QuotaLimits, limits_of


def limits_from(settings: ZohoCalls, zone: str) -> dict[str, QuotaLimits]:
    """By product. `zone`: the data centre's time zone, in which a day begins."""
    plans = {
        "billing": (settings.zoho_billing_plan, 1),
        "books": (settings.zoho_books_plan, 1),
        "crm": (settings.zoho_crm_edition, settings.zoho_crm_users),
        "desk": (settings.zoho_desk_edition, settings.zoho_desk_agents),
    }
    return {
        product: _overridden(
            product, limits_of(product, plan=plan, users=users, zone=zone), settings
        )
        for product, (plan, users) in plans.items()
    }


def _overridden(product: str, limits: QuotaLimits, settings: ZohoCalls) -> QuotaLimits:
    def other(limit: str) -> int | None:
        value: int | None = getattr(settings, f"zoho_{product}_{limit}")
        return value

    finance = product in ("billing", "books")
    everywhere = settings.zoho_minute_calls if finance else None
    calls = other("calls_a_minute") or everywhere or limits.calls
    return replace(
        limits,
        calls=calls,
        window_s=(settings.zoho_window_s or limits.window_s or 60.0) if calls else 0.0,
        in_flight=other("in_flight") or limits.in_flight,
        credits=other("credits_a_day") or limits.credits,
    )
