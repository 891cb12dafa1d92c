"""Define the settings that billing-worker reads from its environment."""

from __future__ import annotations

from shared.environment import Port, Seconds, for_service
from shared.worker import WorkerSettings
from shared.zoho.products.billing.settings import BillingAccess, BillingFields
from shared.zoho.products.books.settings import BooksAccess, BooksFields
from shared.zoho.products.finance.settings import ZohoOrganization


class Settings(
    WorkerSettings, ZohoOrganization, BillingAccess, BillingFields, BooksAccess, BooksFields
):
    model_config = for_service("billing-worker")

    metrics_port: Port = 9102
    # After a restore: how long a change of a subscription waits for later ones published again.
    recovery_gather_s: Seconds = 30.0
