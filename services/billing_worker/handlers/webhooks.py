"""Handle webhooks about subscriptions, payments and invoices. Every webhook is a hint.

The state comes from a read, or from the webhook's payload when that is newer than what is stored.
It is compared with what is stored, so the order of arrival does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import ValidationError

from services.billing_worker.handlers.webhook_burst import wait_for_burst
from services.billing_worker.handlers.webhook_user import WebhookUser
from services.billing_worker.invoices.invoice_sync import InvoiceSync
from services.billing_worker.payments.payment_sync import PaymentSync
from services.billing_worker.repositories.invoices import Invoices
from services.billing_worker.repositories.subscriptions import StoredSubscription, Subscriptions
from services.billing_worker.repositories.users import User, Users
from services.billing_worker.subscriptions.subscription_sync import SubscriptionSync
from services.billing_worker.subscriptions.user_tier import has_ended
from shared.contracts.webhooks import WebhookReceived
from shared.contracts.zoho_payloads import BillingWebhook
from shared.errors import ZohoRejected
from shared.messaging.handling.routes import Route
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.zoho.effects.effects import EffectKey, Effects
from shared.zoho.products.billing.client import CREATE_PAYMENT, ZohoBilling
from shared.zoho.products.billing.models import Subscription

# Zoho's events of a subscription. The change is derived from states, not from these names.
# Source: https://www.zoho.com/billing/api/v1/events/, and public code for the later ones.
SUBSCRIPTION_EVENTS: Final = (
    "subscription_created",
    "subscription_activation",
    "subscription_renewed",
    "subscription_upgraded",
    "subscription_downgraded",
    "subscription_unpaid",
    "subscription_cancelled",
    "subscription_cancelling",
    "subscription_cancellation_scheduled",
    "subscription_scheduled_cancellation_removed",
    "subscription_reactivated",
    "subscription_paused",
    "subscription_resumed",
    "subscription_expired",
    "subscription_deleted",
    "subscription_changed",  # a workflow webhook: the bare record
    "billing_date_changed",
)

_CLOCKS_AGREE_WITHIN: Final = timedelta(seconds=2)
_AHEAD_AT_MOST: Final = timedelta(minutes=5)


@dataclass(frozen=True, kw_only=True)
class WebhookHandlers:
    zoho: ZohoBilling
    effects: Effects
    users: Users
    subscriptions: Subscriptions
    invoices: Invoices
    subscription_sync: SubscriptionSync
    payment_sync: PaymentSync
    invoice_sync: InvoiceSync
    webhook_user: WebhookUser

    def routes(self) -> dict[str, Route]:
        """Handlers by routing key. Events that no other key matches are only counted."""
        by_event = dict.fromkeys(SUBSCRIPTION_EVENTS, self.subscription_changed)
        by_event |= {
            "payment_succeeded": self.payment_made,
            "payment_failed": self.payment_failed,
            "invoice_created": self.invoice_made,
            "invoice_notification": self.invoice_made,
            "invoice_updated": self.invoice_changed,
            "invoice_voided": self.invoice_changed,
            "invoice_changed": self.invoice_changed,
        }
        routes = {
            f"billing.{event}.v1": Route(WebhookReceived, handle, records=("invoice",))
            for event, handle in by_event.items()
        }
        for product in ("billing", "books"):
            routes[f"{product}.#"] = Route(WebhookReceived, self.acknowledge)
        return routes

    async def subscription_changed(self, message: WebhookReceived, work: UnitOfWork) -> None:
        hint = BillingWebhook.of(message.payload)
        zoho_id = hint.subscription.subscription_id if hint.subscription else None
        if zoho_id is None:
            self.webhook_user.count(message, "unmatched")
            return
        await wait_for_burst(message)
        stored = await self.subscriptions.find_by_zoho_id(work.org, zoho_id)
        if stored is None:
            await self._store_unknown(message, work, zoho_id)
        else:
            await self._refresh_unless_read(message, work, stored)

    async def payment_made(self, message: WebhookReceived, work: UnitOfWork) -> None:
        hint = BillingWebhook.of(message.payload)
        await wait_for_burst(message)
        user = await self.webhook_user.of(message, hint)
        if user is None:
            return
        if await self._is_our_record(message):
            return
        stored = await self._subscription_paid(work.org, user, hint)
        await self.payment_sync.record_success(work, user, hint, stored)
        if stored is not None and stored.status in ("unpaid", "dunning"):
            await self._refresh_unless_read(message, work, stored)

    async def payment_failed(self, message: WebhookReceived, work: UnitOfWork) -> None:
        hint = BillingWebhook.of(message.payload)
        await wait_for_burst(message)
        user = await self.webhook_user.of(message, hint)
        if user is None:
            return
        stored = await self._subscription_paid(work.org, user, hint)
        await self.payment_sync.record_failure(work, user, hint, stored, message.received_at)
        if stored is not None:
            await self._refresh_unless_read(message, work, stored)

    async def invoice_made(self, message: WebhookReceived, work: UnitOfWork) -> None:
        hint = BillingWebhook.of(message.payload)
        user = await self.webhook_user.of(message, hint)
        if user is None or hint.invoice is None or hint.invoice.invoice_id is None:
            return
        zoho_id = hint.invoice.subscription_id
        stored = await self.subscriptions.find_by_zoho_id(work.org, zoho_id) if zoho_id else None
        await self.invoices.request_lookup(
            work,
            user.user_id,
            hint.invoice.invoice_id,
            subscription_id=stored.subscription_id if stored else None,
        )

    async def invoice_changed(self, message: WebhookReceived, work: UnitOfWork) -> None:
        hint = BillingWebhook.of(message.payload)
        number = hint.invoice.number if hint.invoice else None
        stored = await self.invoices.find_by_number(work.org, number) if number else None
        if stored is not None and stored.announced_at is not None:
            await self.invoice_sync.refresh(work, stored)
        else:
            await self.invoice_made(message, work)

    async def acknowledge(self, message: WebhookReceived, work: UnitOfWork) -> None:
        """Count an unknown event. Zoho's list of events grows, and the gateway has stored it."""
        self.webhook_user.count(message, "unknown_event")

    async def _refresh_unless_read(
        self, message: WebhookReceived, work: UnitOfWork, stored: StoredSubscription
    ) -> None:
        """Bring the subscription up to date. One read serves a burst."""
        if not _was_read_since(message, stored):
            await self._refresh(message, work, stored)

    async def _refresh(
        self, message: WebhookReceived, work: UnitOfWork, stored: StoredSubscription
    ) -> None:
        user = await self.users.get(work.org, stored.user_id)
        assert user is not None  # noqa: S101 - subscriptions are stored after their users
        began = await self.subscriptions.database_time()
        subscription = _newer_in_payload(message, stored) or await self._read(stored)
        await self.subscription_sync.apply(
            work, user, stored, subscription, origin="zoho", read_at=began
        )

    async def _read(self, stored: StoredSubscription) -> Subscription:
        try:
            return await self.zoho.subscription(stored.zoho_id)
        except ZohoRejected as error:
            if error.status != 404:
                raise
            # Staff deleted it, so it has ended.
            return Subscription(subscription_id=stored.zoho_id, status="cancelled")

    async def _store_unknown(
        self, message: WebhookReceived, work: UnitOfWork, zoho_id: str
    ) -> None:
        """Store a subscription that we did not make, of a known customer, under an id of ours."""
        user = await self.webhook_user.of(message, BillingWebhook.of(message.payload))
        if user is None:
            return
        await self.webhook_user.wait_if_ours(
            message, "it may be a subscription that is being created"
        )
        began = await self.subscriptions.database_time()
        subscription = await self.zoho.subscription(zoho_id)
        await self.subscription_sync.create(
            work,
            user,
            await self._id_of(work.org, subscription),
            subscription,
            origin="zoho",
            read_at=began,
        )

    async def _id_of(self, org: str, subscription: Subscription) -> str:
        """Our id of a subscription made at Zoho: its reference, unless that is another's already.

        Staff may give a reference that a subscription of ours has. The two differ by Zoho's id.
        """
        if reference := subscription.reference_id:
            known = await self.subscriptions.get(org, reference)
            if known is None or known.zoho_id == subscription.subscription_id:
                return reference
        return self.subscriptions.id_of(org, subscription.subscription_id)

    async def _is_our_record(self, message: WebhookReceived) -> bool:
        """Whether a command recorded the payment. Then the command announces it."""
        data = message.payload.get("data")
        payment = data.get("payment") if isinstance(data, dict) else None
        payment_id = payment.get("reference_number") if isinstance(payment, dict) else None
        if not payment_id:
            return False
        return await self.effects.knows(
            EffectKey(message.org, CREATE_PAYMENT.name, str(payment_id))
        )

    async def _subscription_paid(
        self, org: str, user: User, hint: BillingWebhook
    ) -> StoredSubscription | None:
        """The subscription that the payment is for: by its invoice, else the user's only one."""
        for part in (hint.subscription, hint.payment, hint.invoice):
            zoho_id = part.subscription_id if part else None
            if zoho_id:
                return await self.subscriptions.find_by_zoho_id(org, zoho_id)
        invoice_id = hint.payment.invoice_id if hint.payment else None
        if invoice_id:
            invoice = await self.invoices.get(org, self.invoices.id_of(org, invoice_id))
            if invoice is not None and invoice.subscription_id is not None:
                return await self.subscriptions.get(org, invoice.subscription_id)
        running = [
            subscription
            for subscription in await self.subscriptions.list_for_user(org, user.user_id)
            if not has_ended(subscription.status)
        ]
        return running[0] if len(running) == 1 else None


def _was_read_since(message: WebhookReceived, stored: StoredSubscription) -> bool:
    """Whether a read began after the hint came and so saw its change. One read serves a burst."""
    return (
        stored.read_at is not None and message.received_at < stored.read_at - _CLOCKS_AGREE_WITHIN
    )


def _newer_in_payload(message: WebhookReceived, stored: StoredSubscription) -> Subscription | None:
    """The state in the payload, when it is complete and newer than what is stored.

    Equal times decide nothing (Zoho's have whole seconds), and a time far ahead is refused.
    """
    data = message.payload.get("data")
    record = data.get("subscription") if isinstance(data, dict) else None
    if not isinstance(record, dict) or stored.zoho_updated_at is None:
        return None
    if not {"addons", "current_term_ends_at", "plan", "updated_time"} <= record.keys():
        return None
    try:
        carried = Subscription.model_validate(record)
    except ValidationError:
        return None
    updated_at = carried.updated_time
    if (
        updated_at is None
        or not stored.zoho_updated_at < updated_at < datetime.now(UTC) + _AHEAD_AT_MOST
    ):
        return None
    return carried
