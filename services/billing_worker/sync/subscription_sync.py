"""What Zoho says of a subscription, compared with what is stored: recorded and told when new."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from services.billing_worker.repositories.invoices import Invoices
from services.billing_worker.repositories.subscriptions import (
    Origin,
    StoredSubscription,
    Subscriptions,
)
from services.billing_worker.repositories.users import User, Users
from shared.contracts.events import (
    NotificationRequested,
    SubscriptionCancelledNotice,
    SubscriptionChanged,
    SubscriptionExpiredNotice,
)
from shared.contracts.tier import Held, has_ended, is_active, tier
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.messaging.outbox.committer import StaleRead
from shared.zoho.products.billing.models import Subscription


class SubscriptionSync:
    """Compare and set: an older state of Zoho's changes nothing, an equal one tells nothing."""

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

    async def first(
        self,
        work: UnitOfWork,
        user: User,
        subscription_id: str,
        now: Subscription,
        *,
        origin: Origin,
        read_at: datetime,
        requested_plan: str | None = None,
    ) -> None:
        """A subscription that was not known until now."""
        nothing = StoredSubscription(
            org=user.org,
            subscription_id=subscription_id,
            user_id=user.user_id,
            zoho_id=now.subscription_id,
            origin=origin,
            status="",
            plan_code=None,
            quantity=None,
            term_ends_at=None,
            zoho_updated_at=None,
            read_at=None,
            requested_plan=requested_plan,
        )
        await self.compare(work, user, nothing, now, origin=origin, read_at=read_at)

    async def compare(
        self,
        work: UnitOfWork,
        user: User,
        stored: StoredSubscription,
        now: Subscription,
        *,
        origin: Origin,
        read_at: datetime,
    ) -> None:
        """Record and tell what is new in `now`.

        `origin` is who brought it about. `read_at` is when, by PostgreSQL's clock, the read began:
        hints that were received before it are answered by it.

        Raises:
            Overtaken: `stored` is not what is stored any more; decide anew.
        """
        await self._must_be_current(stored)
        if now.child_invoice_id:
            await self._invoices.want(
                work,
                stored.user_id,
                now.child_invoice_id,
                subscription_id=stored.subscription_id,
            )
        fresh = replace(
            stored,
            status=now.status,
            plan_code=now.plan_code or stored.plan_code,
            quantity=now.quantity,
            term_ends_at=now.current_term_ends_at or now.expires_at,
            zoho_updated_at=now.updated_time or stored.zoho_updated_at,
            read_at=read_at,
        )
        if _is_older(fresh, stored) or _says_the_same(fresh, stored):
            self._subscriptions.record_read(work, stored, read_at)
            return
        self._users.take_revision(work, user)
        await self._subscriptions.put(work, fresh)
        await self._tell(work, user, stored, fresh, origin)

    async def _must_be_current(self, stored: StoredSubscription) -> None:
        """Asked after the user was read: what changes from here on, the user's revision tells.

        A change between the two reads it does not: the same news would be told twice.
        """
        current = await self._subscriptions.get(stored.org, stored.subscription_id)
        if current != (stored if stored.status else None):
            raise StaleRead

    async def _tell(
        self,
        work: UnitOfWork,
        user: User,
        before: StoredSubscription,
        now: StoredSubscription,
        origin: Origin,
    ) -> None:
        others = await self._subscriptions.of_user(user.org, user.user_id)
        held = [
            Held(one.status, one.plan_code)
            for one in others
            if one.subscription_id != now.subscription_id
        ]
        work.publish(
            SubscriptionChanged(
                user_id=user.user_id,
                subscription_id=now.subscription_id,
                status=now.status,
                active=is_active(now.status),
                plan_code=now.plan_code,
                tier=tier([*held, Held(now.status, now.plan_code)], self._free_plan_codes),
                term_ends_at=now.term_ends_at,
                cause=cause_of(before, now),
                origin=origin,
            )
        )
        if has_ended(now.status) and not has_ended(before.status) and before.status:
            self._notify(work, user, now)

    def _notify(self, work: UnitOfWork, user: User, now: StoredSubscription) -> None:
        if user.email is None:
            return
        notice = (
            SubscriptionCancelledNotice
            if now.status.startswith("cancelled")
            else SubscriptionExpiredNotice
        )(
            subscription_id=now.subscription_id,
            plan_code=now.plan_code,
            ends_at=now.term_ends_at,
        )
        work.publish(NotificationRequested.of(notice, email=user.email, user_id=user.user_id))


def _is_older(fresh: StoredSubscription, stored: StoredSubscription) -> bool:
    if fresh.zoho_updated_at is None or stored.zoho_updated_at is None:
        return False
    return fresh.zoho_updated_at < stored.zoho_updated_at


def _says_the_same(fresh: StoredSubscription, stored: StoredSubscription) -> bool:
    return (fresh.status, fresh.plan_code, fresh.quantity, fresh.term_ends_at) == (
        stored.status,
        stored.plan_code,
        stored.quantity,
        stored.term_ends_at,
    )


def cause_of(before: StoredSubscription, now: StoredSubscription) -> str:
    """What happened, told by the difference: hints come in any order, and some never do."""
    if not before.status:
        return "requested" if now.origin == "application" else "created"
    if before.status != now.status:
        return _cause_of_status(before.status, now.status)
    if (before.plan_code, before.quantity) != (now.plan_code, now.quantity):
        return "changed"
    if before.term_ends_at and now.term_ends_at and before.term_ends_at < now.term_ends_at:
        return "renewed"
    return "changed"


def _cause_of_status(before: str, now: str) -> str:
    match before, now:
        case _, "expired" | "trial_expired":
            return "expired"
        case _, ended if has_ended(ended):
            return "cancelled"
        case _, "non_renewing":
            return "cancellation_scheduled"
        case _, "paused":
            return "paused"
        case _, "unpaid" | "dunning":
            return "payment_failed"
        case "unpaid" | "dunning", "live":
            return "payment_succeeded"
        case "non_renewing", _:
            return "reactivated"
        case "paused", _:
            return "resumed"
        case "trial" | "future", "live":
            return "activated"
        case _:
            return "changed"
