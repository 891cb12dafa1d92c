"""Create a subscription in Billing, once for each subscription id."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from shared.contracts.commands import SubscriptionRequested
from shared.zoho.effects.effects import Effect, EffectResult
from shared.zoho.products.billing.client import ZohoBilling
from shared.zoho.products.billing.models import Subscription


@dataclass(kw_only=True)
class CreateSubscription(Effect[ZohoBilling]):
    """A subscription, found by its reference. `customer_id` and `card_id` are Billing's.

    `created` is what Billing answered, when this effect is what created it.
    """

    zoho: ZohoBilling
    message: SubscriptionRequested
    customer_id: str
    card_id: str | None
    created: Subscription | None = field(default=None, init=False)

    @property
    def fingerprint(self) -> dict[str, Any]:
        """The part of the command that the journal keeps, to compare a repetition with."""
        return {"plan_code": self.message.plan_code}

    async def act(self, zoho: ZohoBilling) -> EffectResult:
        message = self.message
        self.created = await zoho.create_subscription(
            customer_id=self.customer_id,
            subscription_id=message.subscription_id,
            plan_code=message.plan_code,
            quantity=message.quantity,
            addons={addon.addon_code: addon.quantity for addon in message.addons},
            trial_days=message.trial_days,
            coupon_code=message.coupon_code,
            starts_at=message.starts_at,
            card_id=self.card_id,
        )
        return {"subscription_id": self.created.subscription_id, **self.fingerprint}

    async def find(self) -> EffectResult | None:
        existing = await self.zoho.subscription_with_reference(
            self.message.subscription_id, customer_id=self.customer_id
        )
        return {"subscription_id": existing.subscription_id} if existing else None
