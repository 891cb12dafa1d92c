"""Define the settings of crm-worker."""

from __future__ import annotations

from typing import Literal

from shared.environment import HttpUrl, Port, Seconds, SecretWords, for_service
from shared.worker import WorkerSettings
from shared.zoho.products.crm.settings import CrmAccess, CrmFields


class Settings(WorkerSettings, CrmAccess, CrmFields):
    model_config = for_service("crm-worker")

    metrics_port: Port = 9103
    # Changes of one contact within this time become one row at CRM.
    crm_flush_every_s: Seconds = 1.0
    # What an erasure does with the notes on a contact. The receipt names those that are kept.
    crm_erasure_notes: Literal["delete", "keep"] = "delete"
    # Where Zoho reaches webhook-gateway, and the token of CRM's channel. With both, a channel is
    # kept open.
    gateway_url: HttpUrl | None = None
    zoho_crm_channel_token: SecretWords = ()
    # Without a channel, changes by staff are looked for so often. With one, once an hour.
    crm_compare_every_s: Seconds = 300.0
    # CRM's clock and ours differ. What is compared twice is announced once.
    crm_compare_overlap_s: Seconds = 600.0

    @property
    def channel_url(self) -> str | None:
        """Return where CRM's channel posts. None when no channel is to be kept."""
        if self.gateway_url is None or not self.zoho_crm_channel_token:
            return None
        return f"{self.gateway_url}/webhooks/crm"

    @property
    def channel_token(self) -> str:
        """Return the token that a channel is opened with: the first one."""
        return self.zoho_crm_channel_token[0].get_secret_value()
