"""Create, change, cancel and reactivate subscriptions.

Every handler reads Zoho's state, does what is missing, and has the new state compared with what is
stored. A repeated message changes nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from services.billing_worker.customers.customers import Customers
from services.billing_worker.customers.user_fields import user_fields_in
from services.billing_worker.id_conflicts import ensure_same_request, ensure_same_subscription
from services.billing_worker.repositories.decisions import Decisions
from services.billing_worker.repositories.subscriptions import StoredSubscription, Subscriptions
from services.billing_worker.repositories.users import FROM_SUBSCRIPTION_REQUEST, User, Users
from services.billing_worker.subscriptions.create_subscription import CreateSubscription
from services.billing_worker.subscriptions.subscription_sync import SubscriptionSync
from shared.contracts.commands import (
    SubscriptionCancelRequested,
    SubscriptionChangeRequested,
    SubscriptionReactivateRequested,
    SubscriptionRequested,
)
from shared.crypto.envelope import UserKey
from shared.errors import NotYetKnown, PermanentError, ZohoRejected
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.zoho.effects.effects import Effects
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
    subscription_sync: SubscriptionSync

    async def subscribe(self, message: SubscriptionRequested, work: UnitOfWork) -> None:
        known = await self.subscriptions.get(work.org, message.subscription_id)
        if known is not None:
            ensure_same_subscription(message, known)
            return
        user = await self._user_of(message, work)
        customer_id = await self.customers.ensure(user, work)
        began = await self.subscriptions.database_time()
        subscription = await self._create(message, user, customer_id)
        await self.subscription_sync.create(
            work,
            user,
            message.subscription_id,
            subscription,
            origin="application",
            read_at=began,
            requested_plan=message.plan_code,
        )

    async def change(self, message: SubscriptionChangeRequested, work: UnitOfWork) -> None:
        if not await self.decisions.claim(work, message.subscription_id, "plan"):
            return
        stored, began, subscription = await self._read(work.org, message.subscription_id)
        if subscription.ended:
            raise PermanentError("the subscription is over", code="subscription_ended")
        is_missing = message.at_term_end or not _has_plan(subscription, message)
        if is_missing and not await self.decisions.gives_way(work, message, "plan"):
            subscription = await self.zoho.update_subscription(
                stored.zoho_id,
                plan_code=message.plan_code,
                quantity=message.quantity or _whole(subscription.quantity),
                addons=_addons_in(message),
                at_term_end=message.at_term_end,
            )
        await self._apply(work, stored, subscription, began)

    async def cancel(self, message: SubscriptionCancelRequested, work: UnitOfWork) -> None:
        if not await self.decisions.claim(work, message.subscription_id, "renewal"):
            return
        stored, began, subscription = await self._read(work.org, message.subscription_id)
        is_missing = subscription.renews or (
            subscription.status == "non_renewing" and not message.at_term_end
        )
        # Nothing later undoes a cancellation at once, so that one gives way to nothing.
        if is_missing and not (
            message.at_term_end and await self.decisions.gives_way(work, message, "renewal")
        ):
            subscription = await self.zoho.cancel_subscription(
                stored.zoho_id, at_term_end=message.at_term_end
            )
        await self._apply(work, stored, subscription, began)

    async def reactivate(self, message: SubscriptionReactivateRequested, work: UnitOfWork) -> None:
        if not await self.decisions.claim(work, message.subscription_id, "renewal"):
            return
        stored, began, subscription = await self._read(work.org, message.subscription_id)
        if subscription.ended:
            raise PermanentError("the subscription is over", code="not_reactivatable")
        if not subscription.renews and not await self.decisions.gives_way(work, message, "renewal"):
            subscription = await self.zoho.reactivate_subscription(stored.zoho_id)
        await self._apply(work, stored, subscription, began)

    async def _user_of(self, message: SubscriptionRequested, work: UnitOfWork) -> User:
        user = await self.users.get(work.org, message.user_id)
        if user is not None and user.email is not None:
            return user
        if message.email is None:
            raise NotYetKnown("no sign-up of this user arrived yet", key=message.user_id)
        fields = user_fields_in(
            message.model_dump(include={"email", "full_name"}, exclude_none=True)
        )
        return await self.users.store(
            work, message.user_id, fields, arrived=FROM_SUBSCRIPTION_REQUEST
        )

    async def _create(
        self, message: SubscriptionRequested, user: User, customer_id: str
    ) -> Subscription:
        card_id = await self.customers.card(customer_id) if message.use_stored_card else None
        effect = CreateSubscription(
            zoho=self.zoho, message=message, customer_id=customer_id, card_id=card_id
        )
        owner = UserKey(user.org, user.user_id)
        try:
            result = await self.effects.perform(
                CREATE_SUBSCRIPTION, message.subscription_id, owner, effect
            )
        except ZohoRejected as refused:
            await self._require_known(message, refused)
            raise
        ensure_same_request(effect.fingerprint, result, "subscription_id")
        return effect.created or await self.zoho.subscription(result["subscription_id"])

    async def _require_known(self, message: SubscriptionRequested, refused: ZohoRejected) -> None:
        """Find out what was refused. Zoho's refusals do not name the refused value."""
        if not await _exists(self.zoho.plan(message.plan_code)):
            raise PermanentError("there is no such plan", code="unknown_plan") from refused
        for addon in message.addons:
            if not await _exists(self.zoho.addon(addon.addon_code)):
                raise PermanentError("there is no such add-on", code="unknown_addon") from refused

    async def _read(
        self, org: str, subscription_id: str
    ) -> tuple[StoredSubscription, datetime, Subscription]:
        stored = await self.subscriptions.get(org, subscription_id)
        if stored is None:
            raise NotYetKnown(
                "no request of this subscription arrived yet",
                kind="subscription",
                key=subscription_id,
                code="unknown_subscription",
            )
        began = await self.subscriptions.database_time()
        return stored, began, await self.zoho.subscription(stored.zoho_id)

    async def _apply(
        self,
        work: UnitOfWork,
        stored: StoredSubscription,
        subscription: Subscription,
        began: datetime,
    ) -> None:
        user = await self.users.get(work.org, stored.user_id)
        assert user is not None  # noqa: S101 - subscriptions are stored after their users
        await self.subscription_sync.apply(
            work, user, stored, subscription, origin="application", read_at=began
        )


def _has_plan(subscription: Subscription, message: SubscriptionChangeRequested) -> bool:
    has_quantity = message.quantity in (None, subscription.quantity)
    has_addons = _addons_in(message) in (None, subscription.recurring_addons)
    return subscription.plan_code == message.plan_code and has_quantity and has_addons


def _whole(quantity: Decimal | None) -> int | None:
    """The present quantity, which Zoho would set to 1 where a change does not name it."""
    return int(quantity) if quantity else None


def _addons_in(message: SubscriptionChangeRequested) -> dict[str, int] | None:
    if message.addons is None:
        return None
    return {addon.addon_code: addon.quantity for addon in message.addons}


async def _exists(read: Awaitable[object]) -> bool:
    try:
        await read
    except ZohoRejected as error:
        if error.status == 404:
            return False
        raise
    return True
