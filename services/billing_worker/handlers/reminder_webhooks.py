"""Request notifications for Billing's reminders: trials and cards that end soon, and refunds.

They change no state here. Each notification has an id made from what it is about, so that a
reminder which comes again requests it once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid5

from services.billing_worker.handlers.webhook_user import WebhookUser
from services.billing_worker.repositories.payments import Payments
from services.billing_worker.repositories.reminders import Reminders
from services.billing_worker.repositories.subscriptions import Subscriptions
from services.billing_worker.repositories.users import User
from shared.contracts.events import (
    CardExpiringNotice,
    NotificationRequested,
    PaymentRefundedNotice,
    TrialEndingNotice,
)
from shared.contracts.events.notifications import AnyNotice
from shared.contracts.money import as_money
from shared.contracts.webhooks import WebhookReceived
from shared.contracts.zoho_payloads import BillingWebhook
from shared.messaging.handling.routes import Route
from shared.messaging.handling.unit_of_work import UnitOfWork

# A fixed namespace: the ids of notifications must be the same in every version.
_IDS: Final = UUID("7c0e0a0e-0a9c-4b44-9a0f-3c1f0d3f6d61")


@dataclass(frozen=True, kw_only=True)
class ReminderWebhookHandlers:
    webhook_user: WebhookUser
    subscriptions: Subscriptions
    payments: Payments
    reminders: Reminders

    def routes(self) -> dict[str, Route]:
        """Handlers by routing key."""
        return {
            "billing.trial_expiring.v1": Route(WebhookReceived, self.trial_ends),
            "billing.card_expiring.v1": Route(WebhookReceived, self.card_expires),
            "billing.payment_refunded.v1": Route(WebhookReceived, self.payment_refunded),
        }

    async def trial_ends(self, message: WebhookReceived, work: UnitOfWork) -> None:
        hint = BillingWebhook.of(message.payload)
        user = await self.webhook_user.of(message, hint)
        if user is None or hint.subscription is None or hint.subscription.subscription_id is None:
            return
        stored = await self.subscriptions.find_by_zoho_id(
            work.org, hint.subscription.subscription_id
        )
        if stored is None or stored.status != "trial":
            return  # it became live, or ended, meanwhile
        notice = TrialEndingNotice(
            subscription_id=stored.subscription_id,
            plan_code=stored.plan_code,
            ends_at=stored.term_ends_at,
        )
        await self._request(work, user, notice, f"{stored.subscription_id} {stored.term_ends_at}")

    async def card_expires(self, message: WebhookReceived, work: UnitOfWork) -> None:
        hint = BillingWebhook.of(message.payload)
        user = await self.webhook_user.of(message, hint)
        card = hint.card
        if user is None or card is None or card.expiry_month is None or card.expiry_year is None:
            return
        notice = CardExpiringNotice(
            expires_month=card.expiry_month,
            expires_year=card.expiry_year,
            last_four_digits=card.last_four_digits,
        )
        about = f"{card.last_four_digits} {card.expiry_year}-{card.expiry_month}"
        await self._request(work, user, notice, f"{user.user_id} {about}")

    async def payment_refunded(self, message: WebhookReceived, work: UnitOfWork) -> None:
        hint = BillingWebhook.of(message.payload)
        user = await self.webhook_user.of(message, hint)
        payment, refund = hint.payment, hint.refund
        if user is None or payment is None or payment.payment_id is None:
            return
        stored = await self.payments.find_by_zoho_id(work.org, payment.payment_id)
        currency = payment.currency or (stored.currency if stored else None)
        amount = refund.amount if refund else None
        notice = PaymentRefundedNotice(
            payment_id=(
                stored.payment_id if stored else self.payments.id_of(work.org, payment.payment_id)
            ),
            invoice_id=stored.invoice_id if stored else None,
            amount=as_money(amount, currency) if amount is not None else None,
            currency=currency,
        )
        refund_id = refund.refund_id if refund else message.event_id
        await self._request(work, user, notice, f"{notice.payment_id} {refund_id}")

    async def _request(self, work: UnitOfWork, user: User, notice: AnyNotice, about: str) -> None:
        reminder_id = uuid5(_IDS, f"{work.org} {notice.template} {about}")
        if user.email is None or await self.reminders.was_sent(work.org, reminder_id):
            return
        self.reminders.add(work, reminder_id)
        event = NotificationRequested.of(notice, email=user.email, user_id=user.user_id)
        work.publish(event, event_id=reminder_id)
