"""Define the settings that billing-worker reads from its environment."""

from __future__ import annotations

from shared.environment import Port, for_service
from shared.settings import BillingFields, ZohoOrganization
from shared.worker import WorkerSettings


class Settings(WorkerSettings, ZohoOrganization, BillingFields):
    model_config = for_service("billing-worker")

    metrics_port: Port = 9102
