"""Compare Zoho's state of a subscription with the stored one, then record and announce changes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from services.billing_worker.repositories.invoices import Invoices
from services.billing_worker.repositories.subscriptions import (
    StoredSubscription,
    Subscriptions,
)
from services.billing_worker.repositories.users import User, Users
from services.billing_worker.subscriptions.change_cause import cause_of
from services.billing_worker.subscriptions.user_tier import (
    OwnedSubscription,
    has_ended,
    is_active,
    tier_of,
)
from shared.contracts.events import (
    NotificationRequested,
    Origin,
    SubscriptionCancelledNotice,
    SubscriptionChanged,
    SubscriptionExpiredNotice,
    SubscriptionRenewedNotice,
)
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.messaging.outbox.committer import StaleRead
from shared.zoho.products.billing.models import Subscription

SubscriptionNotice = (
    SubscriptionCancelledNotice | SubscriptionExpiredNotice | SubscriptionRenewedNotice
)


class SubscriptionSync:
    """Compare and set: an older state of Zoho's changes nothing, an equal one announces nothing."""

    def __init__(
        self,
        users: Users,
        subscriptions: Subscriptions,
        invoices: Invoices,
        free_plan_codes: Collection[str],
    ) -> None:
        self._users = users
        self._subscriptions = subscriptions
        self._invoices = invoices
        self._free_plan_codes = free_plan_codes

    async def create(
        self,
        work: UnitOfWork,
        user: User,
        subscription_id: str,
        subscription: Subscription,
        *,
        origin: Origin,
        read_at: datetime,
        requested_plan: str | None = None,
    ) -> None:
        """Store and announce a subscription that was not known until now. Raises as `apply`."""
        unknown = StoredSubscription(
            org=user.org,
            subscription_id=subscription_id,
            user_id=user.user_id,
            zoho_id=subscription.subscription_id,
            origin=origin,
            status="",
            plan_code=None,
            quantity=None,
            term_ends_at=None,
            zoho_updated_at=None,
            read_at=None,
            requested_plan=requested_plan,
        )
        await self.apply(work, user, unknown, subscription, origin=origin, read_at=read_at)

    async def apply(
        self,
        work: UnitOfWork,
        user: User,
        stored: StoredSubscription,
        subscription: Subscription,
        *,
        origin: Origin,
        read_at: datetime,
    ) -> None:
        """Record and announce what `subscription` changes of `stored`.

        `origin` is who caused the change. `read_at` is when the read began, by PostgreSQL's
        clock: hints that were received before it are answered by it.

        Raises:
            StaleRead: what is stored is no longer `stored`. Decide again.
        """
        await self._require_current(stored)
        if subscription.child_invoice_id:
            await self._invoices.request_lookup(
                work,
                stored.user_id,
                subscription.child_invoice_id,
                subscription_id=stored.subscription_id,
            )
        fresh = _updated(stored, subscription, read_at)
        if _is_older(fresh, stored) or _is_same_state(fresh, stored):
            self._subscriptions.record_read(work, stored, read_at)
            return
        self._users.take_revision(work, user)
        await self._subscriptions.save(work, fresh)
        await self._announce(work, user, stored, fresh, origin)

    async def _require_current(self, stored: StoredSubscription) -> None:
        """Check that `stored` is still stored. Runs after the user was read.

        From that read on, the user's revision catches every change. It misses a change between
        the two reads, and the same state would be announced twice.
        """
        current = await self._subscriptions.get(stored.org, stored.subscription_id)
        if current != (stored if stored.status else None):
            raise StaleRead

    async def _announce(
        self,
        work: UnitOfWork,
        user: User,
        before: StoredSubscription,
        after: StoredSubscription,
        origin: Origin,
    ) -> None:
        owned = [
            OwnedSubscription(other.status, other.plan_code)
            for other in await self._subscriptions.list_for_user(user.org, user.user_id)
            if other.subscription_id != after.subscription_id
        ]
        owned.append(OwnedSubscription(after.status, after.plan_code))
        work.publish(
            SubscriptionChanged(
                user_id=user.user_id,
                subscription_id=after.subscription_id,
                status=after.status,
                active=is_active(after.status),
                plan_code=after.plan_code,
                tier=tier_of(owned, self._free_plan_codes),
                term_ends_at=after.term_ends_at,
                cause=cause_of(before, after),
                origin=origin,
            )
        )
        if notice := _notice_of(before, after):
            self._notify(work, user, after, notice)

    def _notify(
        self,
        work: UnitOfWork,
        user: User,
        subscription: StoredSubscription,
        template: type[SubscriptionNotice],
    ) -> None:
        if user.email is None:
            return
        notice = template(
            subscription_id=subscription.subscription_id,
            plan_code=subscription.plan_code,
            ends_at=subscription.term_ends_at,
        )
        work.publish(NotificationRequested.of(notice, email=user.email, user_id=user.user_id))


def _updated(
    stored: StoredSubscription, subscription: Subscription, read_at: datetime
) -> StoredSubscription:
    """The stored subscription with Zoho's state."""
    return replace(
        stored,
        status=subscription.status,
        plan_code=subscription.plan_code or stored.plan_code,
        quantity=subscription.quantity,
        term_ends_at=subscription.current_term_ends_at or subscription.expires_at,
        zoho_updated_at=subscription.updated_time or stored.zoho_updated_at,
        read_at=read_at,
    )


def _notice_of(
    before: StoredSubscription, after: StoredSubscription
) -> type[SubscriptionNotice] | None:
    """The notification that the user should get of the change, if any."""
    if not before.status:
        return None
    if has_ended(after.status) and not has_ended(before.status):
        if after.status.startswith("cancelled"):
            return SubscriptionCancelledNotice
        return SubscriptionExpiredNotice
    return SubscriptionRenewedNotice if cause_of(before, after) == "renewed" else None


def _is_older(fresh: StoredSubscription, stored: StoredSubscription) -> bool:
    if fresh.zoho_updated_at is None or stored.zoho_updated_at is None:
        return False
    return fresh.zoho_updated_at < stored.zoho_updated_at


def _is_same_state(fresh: StoredSubscription, stored: StoredSubscription) -> bool:
    return (fresh.status, fresh.plan_code, fresh.quantity, fresh.term_ends_at) == (
        stored.status,
        stored.plan_code,
        stored.quantity,
        stored.term_ends_at,
    )
