"""Subscriptions: requested, changed, cancelled, reactivated.

Every handler asks Zoho what is, does what is missing, and lets the news be compared with what is
stored: a message that comes again changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from services.billing_worker.customers.customers import Customers
from services.billing_worker.customers.user_fields import person_fields
from services.billing_worker.id_conflicts import must_be_this_subscription, must_be_this_wish
from services.billing_worker.repositories.decisions import Decisions
from services.billing_worker.repositories.subscriptions import StoredSubscription, Subscriptions
from services.billing_worker.repositories.users import BROUGHT_ALONG, User, Users
from services.billing_worker.sync.subscription_sync import SubscriptionSync
from shared.contracts.commands import (
    SubscriptionCancelRequested,
    SubscriptionChangeRequested,
    SubscriptionReactivateRequested,
    SubscriptionRequested,
)
from shared.crypto.envelope import UserKey
from shared.errors import NotYetKnown, PermanentError, ZohoRejected
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.zoho.call.http import Permit
from shared.zoho.effects.effects import EffectKey, EffectResult, Effects
from shared.zoho.products.billing.client import CREATE_SUBSCRIPTION, ZohoBilling
from shared.zoho.products.billing.models import Subscription


@dataclass(frozen=True, kw_only=True)
class SubscriptionHandlers:
    zoho: ZohoBilling
    effects: Effects
    users: Users
    customers: Customers
    subscriptions: Subscriptions
    decisions: Decisions
    news: SubscriptionSync

    async def subscribe(self, message: SubscriptionRequested, work: UnitOfWork) -> None:
        known = await self.subscriptions.get(work.org, message.subscription_id)
        if known is not None:
            must_be_this_subscription(message, known)
            return
        user = await self._user_of(message, work)
        customer_id = await self.customers.ensure(user, work)
        began = await self.subscriptions.now()
        subscription = await self._create(message, user, customer_id)
        await self.news.first(
            work,
            user,
            message.subscription_id,
            subscription,
            origin="application",
            read_at=began,
            requested_plan=message.plan_code,
        )

    async def change(self, message: SubscriptionChangeRequested, work: UnitOfWork) -> None:
        if not await self.decisions.take(work, message.subscription_id, "plan"):
            return
        stored, began, now = await self._now(work.org, message.subscription_id)
        if now.ended:
            raise PermanentError("the subscription is over", code="subscription_ended")
        if message.at_term_end or not _is_on(now, message):
            now = await self.zoho.update_subscription(
                stored.zoho_id,
                plan_code=message.plan_code,
                quantity=message.quantity,
                at_term_end=message.at_term_end,
            )
        await self._compare(work, stored, now, began)

    async def cancel(self, message: SubscriptionCancelRequested, work: UnitOfWork) -> None:
        if not await self.decisions.take(work, message.subscription_id, "renewal"):
            return
        stored, began, now = await self._now(work.org, message.subscription_id)
        if now.renews or (now.status == "non_renewing" and not message.at_term_end):
            now = await self.zoho.cancel_subscription(
                stored.zoho_id, at_term_end=message.at_term_end
            )
        await self._compare(work, stored, now, began)

    async def reactivate(self, message: SubscriptionReactivateRequested, work: UnitOfWork) -> None:
        if not await self.decisions.take(work, message.subscription_id, "renewal"):
            return
        stored, began, now = await self._now(work.org, message.subscription_id)
        if now.ended:
            raise PermanentError("the subscription is over", code="not_reactivatable")
        if not now.renews:
            now = await self.zoho.reactivate_subscription(stored.zoho_id)
        await self._compare(work, stored, now, began)

    async def _user_of(self, message: SubscriptionRequested, work: UnitOfWork) -> User:
        user = await self.users.get(work.org, message.user_id)
        if user is not None and user.email is not None:
            return user
        if message.email is None:
            raise NotYetKnown("no sign-up of this user arrived yet")
        given = person_fields(message.model_dump(include={"email", "full_name"}, exclude_none=True))
        return await self.users.store(work.org, message.user_id, given, arrived=BROUGHT_ALONG)

    async def _create(
        self, message: SubscriptionRequested, user: User, customer_id: str
    ) -> Subscription:
        card_id = await self.customers.card(customer_id) if message.use_stored_card else None
        made: list[Subscription] = []
        wish = {"plan_code": message.plan_code}

        async def act(permit: Permit) -> EffectResult:
            subscription = await self.zoho.create_subscription(
                customer_id=customer_id,
                subscription_id=message.subscription_id,
                plan_code=message.plan_code,
                quantity=message.quantity,
                trial_days=message.trial_days,
                coupon_code=message.coupon_code,
                starts_at=message.starts_at,
                card_id=card_id,
                permit=permit,
            )
            made.append(subscription)
            return {"subscription_id": subscription.subscription_id, **wish}

        async def find() -> EffectResult | None:
            found = await self.zoho.subscription_with_reference(
                message.subscription_id, customer_id=customer_id
            )
            return {"subscription_id": found.subscription_id} if found else None

        try:
            result = await self.effects.perform(
                EffectKey(user.org, CREATE_SUBSCRIPTION.name, message.subscription_id),
                product="billing",
                lane=self.zoho.lane,
                act=act,
                find=find,
                settle_s=CREATE_SUBSCRIPTION.settle_s,
                owner=UserKey(user.org, user.user_id),
            )
        except ZohoRejected as refused:
            await self._must_have_plan(message.plan_code, refused)
            raise
        must_be_this_wish(wish, result, "subscription_id")
        return made[0] if made else await self.zoho.subscription(result["subscription_id"])

    async def _must_have_plan(self, plan_code: str, refused: ZohoRejected) -> None:
        """Zoho's refusals do not say which value it refused; the plan is the usual one."""
        try:
            await self.zoho.plan(plan_code)
        except ZohoRejected as error:
            if error.status == 404:
                raise PermanentError("there is no such plan", code="unknown_plan") from refused
            raise

    async def _now(
        self, org: str, subscription_id: str
    ) -> tuple[StoredSubscription, datetime, Subscription]:
        stored = await self.subscriptions.get(org, subscription_id)
        if stored is None:
            raise NotYetKnown(
                "no request of this subscription arrived yet", code="unknown_subscription"
            )
        began = await self.subscriptions.now()
        return stored, began, await self.zoho.subscription(stored.zoho_id)

    async def _compare(
        self,
        work: UnitOfWork,
        stored: StoredSubscription,
        now: Subscription,
        began: datetime,
    ) -> None:
        user = await self.users.get(work.org, stored.user_id)
        assert user is not None  # noqa: S101 - subscriptions are stored after their users
        await self.news.compare(work, user, stored, now, origin="application", read_at=began)


def _is_on(now: Subscription, message: SubscriptionChangeRequested) -> bool:
    return now.plan_code == message.plan_code and message.quantity in (None, now.quantity)
