"""Define the settings of Zoho Billing."""

from __future__ import annotations

from shared.environment import Count, Environment, HttpUrl, Words
from shared.zoho.products.finance.settings import FinancePlan


class BillingAccess(Environment):
    """The address, the plan, and other limits than the plan's (see `ZohoCalls`)."""

    zoho_billing_url: HttpUrl | None = None
    zoho_billing_plan: FinancePlan | None = None
    zoho_billing_calls_a_minute: Count | None = None
    zoho_billing_credits_a_day: Count | None = None
    zoho_billing_in_flight: Count | None = None


class BillingFields(Environment):
    """The custom field that carries our id, and which plans cost nothing."""

    zoho_billing_user_field: str | None = None
    zoho_free_plan_codes: Words = ()
