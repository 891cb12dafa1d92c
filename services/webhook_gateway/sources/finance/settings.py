"""Define the secret of the webhooks of Billing and Books."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shared.environment import Environment, SecretWords


class FinanceWebhookSettings(Environment):
    zoho_webhook_secret: Annotated[SecretWords, Field(min_length=1)]
