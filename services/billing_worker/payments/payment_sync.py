"""Announce each payment that a webhook reports, once."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from services.billing_worker.repositories.invoices import Invoices
from services.billing_worker.repositories.payments import PaymentOutcome, Payments, StoredPayment
from services.billing_worker.repositories.subscriptions import StoredSubscription
from services.billing_worker.repositories.users import User
from shared.contracts.events import (
    NotificationRequested,
    PaymentFailed,
    PaymentFailedNotice,
    PaymentSucceeded,
)
from shared.contracts.money import as_money
from shared.contracts.zoho_payloads import BillingWebhook, PaymentHint
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.zoho.products.billing.client import ZohoBilling


@dataclass(frozen=True)
class _PaymentFacts:
    """The parts of a payment that its events carry, with our ids."""

    payment_id: str
    amount: Decimal | None
    currency: str | None
    invoice_id: str | None


class PaymentSync:
    def __init__(self, zoho: ZohoBilling, payments: Payments, invoices: Invoices) -> None:
        self._zoho = zoho
        self._payments = payments
        self._invoices = invoices

    async def record_success(
        self,
        work: UnitOfWork,
        user: User,
        hint: BillingWebhook,
        subscription: StoredSubscription | None,
    ) -> None:
        facts = await self._record_if_new(work, user, hint.payment, "succeeded")
        if facts is None or not facts.amount:
            return
        work.publish(
            PaymentSucceeded(
                user_id=user.user_id,
                payment_id=facts.payment_id,
                amount=facts.amount,
                currency=facts.currency,
                invoice_id=facts.invoice_id,
                subscription_id=subscription.subscription_id if subscription else None,
            )
        )

    async def record_failure(
        self,
        work: UnitOfWork,
        user: User,
        hint: BillingWebhook,
        subscription: StoredSubscription | None,
    ) -> None:
        """Announce the failure and request the user's notification.

        The webhook need not name the payment.
        """
        payment = hint.payment
        facts = await self._record_if_new(work, user, payment, "failed")
        if facts is None and payment is not None and payment.payment_id is not None:
            return  # announced before
        event = PaymentFailed(
            user_id=user.user_id,
            payment_id=facts.payment_id if facts else None,
            amount=(facts.amount or None) if facts else None,
            currency=facts.currency if facts else None,
            invoice_id=facts.invoice_id if facts else None,
            subscription_id=subscription.subscription_id if subscription else None,
            next_retry_at=payment.next_retry_at if payment else None,
        )
        work.publish(event)
        if user.email is not None:
            notice = PaymentFailedNotice(
                payment_id=event.payment_id,
                subscription_id=event.subscription_id,
                invoice_id=event.invoice_id,
                amount=event.amount,
                currency=event.currency,
                next_retry_at=event.next_retry_at,
            )
            work.publish(NotificationRequested.of(notice, email=user.email, user_id=user.user_id))

    async def _record_if_new(
        self, work: UnitOfWork, user: User, payment: PaymentHint | None, outcome: PaymentOutcome
    ) -> _PaymentFacts | None:
        """Record a payment that was not announced yet; None when it was, or has no id."""
        if payment is None or payment.payment_id is None:
            return None
        zoho_id = payment.payment_id
        if await self._payments.find_by_zoho_id(work.org, zoho_id):
            return None
        amount, currency, invoice = payment.amount, payment.currency, payment.invoice_id
        if amount is None:
            read = await self._zoho.payment(zoho_id)
            amount, currency = read.amount, read.currency_code
            invoice = read.invoices[0].invoice_id if read.invoices else None
        facts = _PaymentFacts(
            payment_id=self._payments.id_of(work.org, zoho_id),
            amount=as_money(amount, currency) if amount is not None else None,
            currency=currency,
            invoice_id=await self._invoice_id(work.org, invoice),
        )
        await self._payments.add(
            work,
            StoredPayment(
                org=work.org,
                payment_id=facts.payment_id,
                user_id=user.user_id,
                zoho_id=zoho_id,
                origin="zoho",
                outcome=outcome,
                amount=facts.amount,
                currency=facts.currency,
                invoice_id=facts.invoice_id,
            ),
        )
        return facts

    async def _invoice_id(self, org: str, zoho_id: str | None) -> str | None:
        """Our id of an invoice of Billing's. It is the same before and after its announcement."""
        return self._invoices.id_of(org, zoho_id) if zoho_id else None
