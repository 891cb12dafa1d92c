"""Find the user whom a webhook of Billing is about, and wait while a command may be creating it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from services.billing_worker.repositories.users import User, Users
from shared.contracts.webhooks import WebhookReceived
from shared.contracts.zoho_payloads import BillingWebhook
from shared.errors import LookAgain
from shared.observability.metrics import Metrics
from shared.zoho.effects.effects import Effects

# A record that a command is still creating would count as unknown when it is read before that.
_MAY_BE_OURS_S: Final = 20.0
_LOOK_AGAIN_S: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class WebhookUser:
    effects: Effects
    users: Users
    metrics: Metrics

    async def of(self, message: WebhookReceived, hint: BillingWebhook) -> User | None:
        """The user whom the webhook is about. None, and counted, when no known user matches."""
        user = None
        if hint.customer_id is not None:
            user = await self.users.find_by_customer(message.org, hint.customer_id)
        elif hint.email is not None:
            user = await self.users.find_by_email(message.org, hint.email)
        if user is None:
            await self.wait_if_ours(message, "it may be about a customer that is being created")
            self.count(message, "unmatched")
        return user

    async def wait_if_ours(self, message: WebhookReceived, reason: str) -> None:
        """Raise LookAgain while a command may be creating what the webhook is about."""
        age = datetime.now(UTC) - message.received_at
        is_new = age.total_seconds() < _MAY_BE_OURS_S
        if is_new or await self.effects.any_open(message.org, "billing"):
            raise LookAgain(reason, retry_after_s=_LOOK_AGAIN_S)

    def count(self, message: WebhookReceived, outcome: str) -> None:
        self.metrics.webhooks_received.labels(
            product=message.product, outcome=outcome, org=message.org
        ).inc()
