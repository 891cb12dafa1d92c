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
    SubscribedAddon,
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
    """Bring the stored state of a subscription up to Zoho's, and announce what changed.

    A state that is older than the stored one changes nothing. An equal one is not announced.
    """

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
        """Store and announce a subscription that was not known until now. Raises as `apply`.

        `requested_plan` is the plan of the command that created it. None when staff created it.
        """
        unknown = StoredSubscription(
            org=user.org,
            subscription_id=subscription_id,
            user_id=user.user_id,
            zoho_id=subscription.subscription_id,
            origin=origin,
            status="",  # not stored yet: see `_require_current`
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
        """Store Zoho's state, and announce how it differs from `stored`.

        Args:
            origin: who caused the change.
            read_at: when the read of Zoho's state began, by PostgreSQL's clock. A webhook that
                was received before that moment needs no read of its own.

        Raises:
            StaleRead: another replica has changed the stored state meanwhile. Decide again.
        """
        await self._require_current(stored)
        if subscription.child_invoice_id:
            await self._invoices.request_lookup(
                work,
                stored.user_id,
                subscription.child_invoice_id,
                subscription_id=stored.subscription_id,
            )
        from_zoho = _updated(stored, subscription, read_at)
        if _is_older(from_zoho, stored) or _is_same_state(from_zoho, stored):
            self._subscriptions.record_read(work, stored, read_at)
            return
        self._users.take_revision(work, user)
        await self._subscriptions.save(work, from_zoho)
        await self._announce(work, user, stored, from_zoho, origin)

    async def _require_current(self, stored: StoredSubscription) -> None:
        """Raise StaleRead unless the database still holds `stored`.

        `stored` may have been read before the user was. A change after the read of the user takes
        the user's next revision, so the commit fails. A change between the two reads does not make
        it fail, and without this check the same state would be announced twice.

        An empty status means that nothing is stored yet.
        """
        in_database = await self._subscriptions.get(stored.org, stored.subscription_id)
        if in_database != (stored if stored.status else None):
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
                quantity=int(after.quantity) if after.quantity else None,
                addons=tuple(
                    SubscribedAddon(addon_code=code, quantity=quantity)
                    for code, quantity in sorted(after.addons.items())
                ),
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
    """Return the stored subscription with the state that Zoho has now."""
    return replace(
        stored,
        status=subscription.status,
        plan_code=subscription.plan_code or stored.plan_code,
        quantity=subscription.quantity,
        addons=subscription.recurring_addons,
        term_ends_at=subscription.current_term_ends_at or subscription.expires_at,
        zoho_updated_at=subscription.updated_time or stored.zoho_updated_at,
        read_at=read_at,
    )


def _notice_of(
    before: StoredSubscription, after: StoredSubscription
) -> type[SubscriptionNotice] | None:
    """Return the notice that the change calls for. None for one that needs no notice."""
    if not before.status:
        return None
    if has_ended(after.status) and not has_ended(before.status):
        if after.status.startswith("cancelled"):
            return SubscriptionCancelledNotice
        return SubscriptionExpiredNotice
    return SubscriptionRenewedNotice if cause_of(before, after) == "renewed" else None


def _is_older(from_zoho: StoredSubscription, stored: StoredSubscription) -> bool:
    if from_zoho.zoho_updated_at is None or stored.zoho_updated_at is None:
        return False
    return from_zoho.zoho_updated_at < stored.zoho_updated_at


def _is_same_state(from_zoho: StoredSubscription, stored: StoredSubscription) -> bool:
    return _state(from_zoho) == _state(stored)


def _state(stored: StoredSubscription) -> tuple[object, ...]:
    return stored.status, stored.plan_code, stored.quantity, stored.addons, stored.term_ends_at
