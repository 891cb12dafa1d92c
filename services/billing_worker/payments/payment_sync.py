"""Announce each payment and each failed charge once, whoever reports it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID, uuid5

from services.billing_worker.repositories.invoices import Invoices, StoredInvoice
from services.billing_worker.repositories.payments import PaymentOutcome, Payments, StoredPayment
from services.billing_worker.repositories.reminders import Reminders
from services.billing_worker.repositories.subscriptions import StoredSubscription
from services.billing_worker.repositories.users import User
from shared.contracts.events import (
    NotificationRequested,
    Origin,
    PaymentFailed,
    PaymentFailedNotice,
    PaymentSucceeded,
)
from shared.contracts.money import as_money
from shared.contracts.zoho_payloads import BillingWebhook, PaymentHint
from shared.errors import ZohoRejected
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.zoho.products.billing.client import ZohoBilling
from shared.zoho.products.billing.models import Payment

# A fixed namespace: the same failure must have the same id in every version.
_IDS: Final = UUID("3f0c1f0e-8c57-4a0b-9a4e-5a8f6a2f7d11")
# A webhook is posted at once, and again for some hours when it was not taken.
_REPORTED_WITHIN: Final = timedelta(days=1)
_CLOCKS_DIFFER_BY: Final = timedelta(minutes=5)


@dataclass(frozen=True)
class _PaymentFacts:
    """The parts of a payment that its events carry, with our ids."""

    payment_id: str
    amount: Decimal | None
    currency: str | None
    invoice_id: str | None
    reason: str | None = None


class PaymentSync:
    def __init__(
        self, zoho: ZohoBilling, payments: Payments, invoices: Invoices, reminders: Reminders
    ) -> None:
        self._zoho = zoho
        self._payments = payments
        self._invoices = invoices
        self._reminders = reminders

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
            ),
            once_for=facts.payment_id,
        )

    async def record_failure(
        self,
        work: UnitOfWork,
        user: User,
        hint: BillingWebhook,
        subscription: StoredSubscription | None,
        received_at: datetime,
    ) -> None:
        """Announce a failure that a webhook reports, and request the user's notification.

        The webhook need not name the payment. Then Zoho is asked which one failed, so that several
        webhooks of one failure announce it once. `received_at`: when the webhook came.
        """
        payment = hint.payment or PaymentHint()
        if payment.payment_id is None:
            failed = await self._failed_before(
                user, hint.event_time or received_at, _invoice_in(hint)
            )
            payment = payment.model_copy(update={"payment_id": failed})
        subscription_id = subscription.subscription_id if subscription else None
        if payment.payment_id is not None:
            facts = await self._record_if_new(work, user, payment, "failed")
            is_new = facts is not None
        else:
            facts = None
            is_new = await self._is_first(
                work, user, subscription_id, payment.next_retry_at, received_at
            )
        if is_new:
            _announce_failure(
                work,
                user,
                facts,
                subscription_id=subscription_id,
                next_retry_at=payment.next_retry_at,
            )

    async def record_decline(
        self, work: UnitOfWork, user: User, invoice: StoredInvoice, payment: Payment
    ) -> None:
        """Announce that the bank declined a charge that the application asked for."""
        if await self._payments.find_by_zoho_id(work.org, payment.payment_id):
            return  # a webhook was faster
        currency = payment.currency_code or invoice.currency
        transaction = payment.autotransaction
        facts = _PaymentFacts(
            payment_id=self._payments.id_of(work.org, payment.payment_id),
            amount=as_money(payment.amount, currency) if payment.amount is not None else None,
            currency=currency,
            invoice_id=invoice.invoice_id,
            reason=transaction.gateway_error_message if transaction else None,
        )
        await self._add(work, user, facts, payment.payment_id, "failed", origin="application")
        _announce_failure(
            work,
            user,
            facts,
            subscription_id=invoice.subscription_id,
            next_retry_at=None,
            origin="application",
        )

    async def _failed_before(self, user: User, moment: datetime, invoice: str | None) -> str | None:
        """Zoho's id of the payment that failed last, within a day before the moment.

        Only payments of `invoice` (Zoho's id) count where the webhook names one, or else those that
        Zoho lists without their invoices. None when it names none, and payments of several invoices
        failed: nobody knows which is meant.
        """
        if user.customer_id is None:
            return None
        try:
            payments = await self._zoho.payments_of(user.customer_id)
        except ZohoRejected:
            return None  # a listing that Zoho's OpenAPI file lacks: it may not be there for all
        failed = [
            (payment.created_time, payment)
            for payment in payments
            if payment.status == "failure"
            and payment.created_time is not None
            and moment - _REPORTED_WITHIN <= payment.created_time <= moment + _CLOCKS_DIFFER_BY
        ]
        if invoice is not None:
            of_it = [each for each in failed if invoice in _invoices_of(each[1])]
            failed = of_it or [each for each in failed if not _invoices_of(each[1])]
        if len({frozenset(_invoices_of(payment)) for _, payment in failed}) != 1:
            return None
        return max((at, payment.payment_id) for at, payment in failed)[1]

    async def _is_first(
        self,
        work: UnitOfWork,
        user: User,
        subscription_id: str | None,
        next_retry_at: datetime | None,
        received_at: datetime,
    ) -> bool:
        """Whether a failure that Zoho lists no payment of is reported for the first time.

        When the next try is tells failures apart. Without it, those of one day count as one.
        """
        occasion = next_retry_at.isoformat() if next_retry_at else received_at.date().isoformat()
        about = f"{work.org} payment_failed {user.user_id} {subscription_id} {occasion}"
        reminder_id = uuid5(_IDS, about)
        if await self._reminders.was_sent(work.org, reminder_id):
            return False
        self._reminders.add(work, reminder_id)
        return True

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
        reason = payment.gateway_error
        if amount is None:
            read = await self._zoho.payment(zoho_id)
            amount, currency = read.amount, read.currency_code
            invoice = read.invoices[0].invoice_id if read.invoices else None
            reason = read.autotransaction.gateway_error_message if read.autotransaction else None
        facts = _PaymentFacts(
            payment_id=self._payments.id_of(work.org, zoho_id),
            amount=as_money(amount, currency) if amount is not None else None,
            currency=currency,
            invoice_id=self._invoices.id_of(work.org, invoice) if invoice else None,
            reason=reason,
        )
        await self._add(work, user, facts, zoho_id, outcome, origin="zoho")
        return facts

    async def _add(
        self,
        work: UnitOfWork,
        user: User,
        facts: _PaymentFacts,
        zoho_id: str,
        outcome: PaymentOutcome,
        *,
        origin: Origin,
    ) -> None:
        await self._payments.add(
            work,
            StoredPayment(
                org=work.org,
                payment_id=facts.payment_id,
                user_id=user.user_id,
                zoho_id=zoho_id,
                origin=origin,
                outcome=outcome,
                amount=facts.amount,
                currency=facts.currency,
                invoice_id=facts.invoice_id,
            ),
        )


def _invoice_in(hint: BillingWebhook) -> str | None:
    """Zoho's id of the invoice that the webhook is about."""
    named = (hint.payment and hint.payment.invoice_id, hint.invoice and hint.invoice.invoice_id)
    return next((each for each in named if each), None)


def _invoices_of(payment: Payment) -> set[str]:
    return {each.invoice_id for each in payment.invoices}


def _announce_failure(
    work: UnitOfWork,
    user: User,
    facts: _PaymentFacts | None,
    *,
    subscription_id: str | None,
    next_retry_at: datetime | None,
    origin: Origin = "zoho",
) -> None:
    """Publish the failure, and request the notification of its user."""
    event = PaymentFailed(
        user_id=user.user_id,
        payment_id=facts.payment_id if facts else None,
        amount=(facts.amount or None) if facts else None,
        currency=facts.currency if facts else None,
        invoice_id=facts.invoice_id if facts else None,
        subscription_id=subscription_id,
        next_retry_at=next_retry_at,
        reason=facts.reason if facts else None,
        origin=origin,
    )
    work.publish(event, once_for=event.payment_id)
    if user.email is not None:
        notice = PaymentFailedNotice(
            payment_id=event.payment_id,
            subscription_id=event.subscription_id,
            invoice_id=event.invoice_id,
            amount=event.amount,
            currency=event.currency,
            next_retry_at=event.next_retry_at,
        )
        work.publish(
            NotificationRequested.of(notice, email=user.email, user_id=user.user_id),
            once_for=event.payment_id and f"payment_failed:{event.payment_id}",
        )
