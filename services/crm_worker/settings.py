"""Define the settings of crm-worker."""

from __future__ import annotations

from typing import Literal

from shared.environment import Port, Seconds, for_service
from shared.worker import WorkerSettings
from shared.zoho.products.crm.settings import CrmAccess, CrmFields


class Settings(WorkerSettings, CrmAccess, CrmFields):
    model_config = for_service("crm-worker")

    metrics_port: Port = 9103
    # Changes of one contact within this time become one row at CRM.
    crm_flush_every_s: Seconds = 1.0
    # What an erasure does with the notes on a contact. The receipt names those that are kept.
    crm_erasure_notes: Literal["delete", "keep"] = "delete"
