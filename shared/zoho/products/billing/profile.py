"""Describe Zoho Billing to code that treats all products alike.

Sources: docs/zoho/finance.md §1.1, §1.7, §2.1 to §2.3. Scopes: the `security` of each operation in
Zoho's OpenAPI files. Cancel, collect, void and the like are POSTs: CREATE.
"""

from __future__ import annotations

from typing import Final

from shared.zoho.call.operation import Operation
from shared.zoho.call.profile import Address, ProductProfile
from shared.zoho.products.finance.known_answers import KNOWN_ANSWERS
from shared.zoho.products.finance.profile import (
    CALLS_A_MINUTE,
    CREDITS_LEFT_HEADERS,
    ENVELOPE,
    PLANS,
)
from shared.zoho.quota.limits import ProductQuota

BILLING: Final = ProductProfile(
    name="billing",
    address=Address("billing", "/billing/v1"),
    organization_header="X-com-zoho-subscriptions-organizationid",
    envelope=ENVELOPE,
    known_answers=KNOWN_ANSWERS,
    credits_left_headers=CREDITS_LEFT_HEADERS,
    quota=ProductQuota(
        plans=PLANS, plan_setting="zoho_billing_plan", calls_a_minute=CALLS_A_MINUTE
    ),
    scopes=(
        "ZohoSubscriptions.customers.CREATE",
        "ZohoSubscriptions.customers.READ",
        "ZohoSubscriptions.customers.UPDATE",
        "ZohoSubscriptions.customers.DELETE",
        "ZohoSubscriptions.plans.READ",
        "ZohoSubscriptions.addons.READ",
        "ZohoSubscriptions.subscriptions.CREATE",
        "ZohoSubscriptions.subscriptions.READ",
        "ZohoSubscriptions.subscriptions.UPDATE",
        "ZohoSubscriptions.invoices.CREATE",
        "ZohoSubscriptions.invoices.READ",
        "ZohoSubscriptions.payments.CREATE",
        "ZohoSubscriptions.payments.READ",
        "ZohoSubscriptions.creditnotes.CREATE",
        "ZohoSubscriptions.webhooks.READ",
    ),
    probe=(Operation("billing", "list_plans", "GET", repeatable=True), "/plans?per_page=1"),
)
