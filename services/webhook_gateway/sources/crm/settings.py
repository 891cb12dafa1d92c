"""Define the secrets of CRM's webhooks."""

from __future__ import annotations

from shared.environment import Environment, SecretWords


class CrmWebhookSettings(Environment):
    zoho_crm_channel_token: SecretWords = ()
    zoho_crm_webhook_secret: SecretWords = ()
