"""Zoho Billing, one typed method per operation (https://www.zoho.com/billing/api/v1/)."""

from __future__ import annotations

from shared.zoho.products.billing.customers import CREATE_CUSTOMER, BillingCustomers
from shared.zoho.products.billing.payments import (
    COLLECT_INVOICE,
    CREATE_PAYMENT,
    REFUND_PAYMENT,
    BillingPayments,
)
from shared.zoho.products.billing.subscriptions import CREATE_SUBSCRIPTION, BillingSubscriptions

__all__ = [
    "COLLECT_INVOICE",
    "CREATE_CUSTOMER",
    "CREATE_PAYMENT",
    "CREATE_SUBSCRIPTION",
    "REFUND_PAYMENT",
    "ZohoBilling",
]


class ZohoBilling(BillingCustomers, BillingSubscriptions, BillingPayments):
    """`ZohoBilling(http, settings, org="default")`. `.on(priority)` returns one of that priority.

    Every method raises what `ZohoHttp.call` raises. Docstrings name only what an operation adds.
    """
