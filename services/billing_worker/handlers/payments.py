"""Record, collect and refund payments, each once: money that may have moved is not moved again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from services.billing_worker.customers.customers import Customers
from services.billing_worker.id_conflicts import (
    canonical_amount,
    ensure_same_payment,
    ensure_same_refund,
    ensure_same_request,
)
from services.billing_worker.repositories.invoices import Invoices, StoredInvoice
from services.billing_worker.repositories.payments import Payments, StoredPayment
from services.billing_worker.repositories.users import User, Users
from shared.contracts.commands import (
    PaymentCollectRequested,
    PaymentRecordRequested,
    PaymentRefundRequested,
)
from shared.contracts.events import PaymentSucceeded
from shared.contracts.money import as_money, decimals_of, has_excess_decimals
from shared.crypto.envelope import UserKey
from shared.errors import InvalidMessage, NotYetKnown, PermanentError, ZohoRejected
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.zoho.call.http import Permit
from shared.zoho.effects.effects import Absence, EffectKey, EffectResult, Effects
from shared.zoho.products.billing.client import (
    COLLECT_INVOICE,
    CREATE_PAYMENT,
    REFUND_PAYMENT,
    ZohoBilling,
)
from shared.zoho.products.billing.models import BillingInvoice, Payment


@dataclass(frozen=True, kw_only=True)
class PaymentHandlers:
    zoho: ZohoBilling
    effects: Effects
    users: Users
    customers: Customers
    invoices: Invoices
    payments: Payments

    async def record(self, message: PaymentRecordRequested, work: UnitOfWork) -> None:
        """Record an offline payment at Zoho. No card is charged."""
        known = await self.payments.get(work.org, message.payment_id)
        if known is not None:
            ensure_same_payment(message, known)
            return
        user = await self.users.get(work.org, message.user_id)
        if user is None:
            raise NotYetKnown("no sign-up of this user arrived yet")
        customer_id = await self.customers.ensure(user, work)
        invoice = await self._invoice(work.org, message.invoice_id, message.currency)
        if invoice is None:
            customer = await self.zoho.customer(customer_id)
            _require_currency(message.currency, customer.currency_code)
        fingerprint = {
            "amount": canonical_amount(message.amount),
            "currency": message.currency,
            "invoice_id": message.invoice_id,
        }

        async def act(permit: Permit) -> EffectResult:
            made = await self.zoho.create_payment(
                customer_id=customer_id,
                payment_id=message.payment_id,
                amount=message.amount,
                mode=message.mode,
                paid_on=message.date,
                invoice_id=invoice.billing_id if invoice else None,
                permit=permit,
            )
            return {"payment_id": made.payment_id, **fingerprint}

        async def find() -> EffectResult | None:
            for payment in await self.zoho.payments_of(customer_id):
                if payment.reference_number == message.payment_id:
                    done = {"payment_id": payment.payment_id}
                    if payment.amount is not None:
                        done["amount"] = canonical_amount(payment.amount)
                    return done
            return None

        result = await self.effects.perform(
            EffectKey(work.org, CREATE_PAYMENT.name, message.payment_id),
            product="billing",
            lane=self.zoho.lane,
            act=act,
            find=find,
            settle_s=CREATE_PAYMENT.settle_s,
            owner=UserKey(work.org, user.user_id),
        )
        ensure_same_request(fingerprint, result, "payment_id")
        await self._announce(
            work,
            user,
            StoredPayment(
                org=work.org,
                payment_id=message.payment_id,
                user_id=user.user_id,
                zoho_id=result["payment_id"],
                origin="application",
                outcome="succeeded",
                amount=message.amount,
                currency=message.currency,
                invoice_id=message.invoice_id,
            ),
        )

    async def collect(self, message: PaymentCollectRequested, work: UnitOfWork) -> None:
        """Charge the stored card with the balance of an invoice, once for each invoice."""
        invoice = await self._known_invoice(work.org, message.invoice_id)
        user = await self.users.get(work.org, invoice.user_id)
        if user is None or user.customer_id is None or invoice.billing_id is None:
            raise PermanentError("the invoice cannot be collected", code="unknown_invoice")
        billing_id, customer_id = invoice.billing_id, user.customer_id
        card_id = ""

        async def choose_card() -> None:
            # Only when a charge is right: a missing card proves nothing about an earlier charge.
            nonlocal card_id
            card_id = await self.customers.card(customer_id)

        async def act(permit: Permit) -> EffectResult:
            try:
                await self.zoho.collect_invoice(billing_id, card_id=card_id, permit=permit)
            except ZohoRejected as error:
                raise PermanentError("the card was declined", code="payment_declined") from error
            return {}

        async def find() -> EffectResult | Absence | None:
            if _is_paid(await self.zoho.invoice(billing_id)):
                return {}
            # Only a decline that Zoho lists proves that nobody was charged. A decline before this
            # attempt proves nothing.
            intended_at = await self.effects.intended_at(key)
            refused = any(
                _was_declined(payment, billing_id, since=intended_at)
                for payment in await self.zoho.payments_of(customer_id)
            )
            return Absence.PROVEN if refused else None

        key = EffectKey(work.org, COLLECT_INVOICE.name, message.invoice_id)
        begun = await self.effects.may_be_done(key)
        if not begun and _is_paid(await self.zoho.invoice(billing_id)):
            return  # paid already, in some way
        await self.effects.perform(
            key,
            product="billing",
            lane=self.zoho.lane,
            act=act,
            find=find,
            settle_s=COLLECT_INVOICE.settle_s,
            owner=UserKey(work.org, user.user_id),
            adopt=choose_card,
            money=True,
        )
        await self._announce_collected(work, user, invoice, billing_id)

    async def refund(self, message: PaymentRefundRequested, work: UnitOfWork) -> None:
        """Refund a card payment or a part of it."""
        stored = await self.payments.get(work.org, message.payment_id)
        if stored is None:
            raise PermanentError("no payment has this id", code="unknown_payment")
        if has_excess_decimals(message.amount, stored.currency):
            raise InvalidMessage(
                f"amount must have at most {decimals_of(stored.currency)} digits after the point"
                " in the payment's currency"
            )
        known = await self.payments.refund(work.org, message.refund_id)
        if known is not None:
            ensure_same_refund(message, known)
            return
        before = await self.payments.refunded_total(work.org, stored.payment_id)
        fingerprint = {"of_payment": stored.payment_id, "amount": canonical_amount(message.amount)}
        key = EffectKey(work.org, REFUND_PAYMENT.name, message.refund_id)
        if not await self.effects.may_be_done(key):
            await self._require_card_payment(stored.zoho_id)

        async def act(permit: Permit) -> EffectResult:
            made = await self.zoho.refund_payment(
                stored.zoho_id,
                amount=message.amount,
                description=f"{message.reason}\nref {message.refund_id}",
                permit=permit,
            )
            return {"refund_id": made.refund_id, **fingerprint}

        async def find() -> EffectResult | Absence | None:
            refunded = (await self.zoho.payment(stored.zoho_id)).amount_refunded
            if refunded is None:
                return None  # Zoho may leave the field out, which proves nothing
            if refunded == before + message.amount:
                return fingerprint
            # Exactly our earlier refunds: this one did not happen. Any other sum involves refunds
            # by others, and a person has to look.
            return Absence.PROVEN if refunded == before else None

        result = await self.effects.perform(
            key,
            product="billing",
            lane=self.zoho.lane,
            act=act,
            find=find,
            settle_s=REFUND_PAYMENT.settle_s,
            owner=UserKey(work.org, stored.user_id),
            money=True,
        )
        ensure_same_request(fingerprint, result, "refund_id")
        self.payments.record_refund(work, stored.payment_id, message.refund_id, message.amount)

    async def _require_card_payment(self, zoho_id: str) -> None:
        if (await self.zoho.payment(zoho_id)).autotransaction is None:
            raise PermanentError("only card payments can be refunded", code="refund_not_possible")

    async def _announce_collected(
        self, work: UnitOfWork, user: User, invoice: StoredInvoice, billing_id: str
    ) -> None:
        collected = await self.zoho.invoice(billing_id)
        if not collected.payments:
            return
        paid = collected.payments[-1]
        if await self.payments.find_by_zoho_id(work.org, paid.payment_id):
            return  # a webhook was faster
        await self._announce(
            work,
            user,
            StoredPayment(
                org=work.org,
                payment_id=self.payments.id_of(work.org, paid.payment_id),
                user_id=user.user_id,
                zoho_id=paid.payment_id,
                origin="application",
                outcome="succeeded",
                amount=paid.amount,
                currency=invoice.currency,
                invoice_id=invoice.invoice_id,
            ),
        )

    async def _announce(self, work: UnitOfWork, user: User, payment: StoredPayment) -> None:
        await self.payments.add(work, payment)
        if payment.amount:
            work.publish(
                PaymentSucceeded(
                    user_id=user.user_id,
                    payment_id=payment.payment_id,
                    amount=as_money(payment.amount, payment.currency),
                    currency=payment.currency,
                    invoice_id=payment.invoice_id,
                    origin="application",
                )
            )

    async def _known_invoice(self, org: str, invoice_id: str) -> StoredInvoice:
        invoice = await self.invoices.get(org, invoice_id)
        if invoice is None:
            raise PermanentError("no invoice has this id", code="unknown_invoice")
        return invoice

    async def _invoice(
        self, org: str, invoice_id: str | None, currency: str
    ) -> StoredInvoice | None:
        if invoice_id is None:
            return None
        invoice = await self._known_invoice(org, invoice_id)
        _require_currency(currency, invoice.currency)
        return invoice


def _is_paid(invoice: BillingInvoice) -> bool:
    """Whether nothing is owed. Without a balance the status decides."""
    return invoice.status == "paid" if invoice.balance is None else not invoice.balance


def _was_declined(payment: Payment, billing_id: str, *, since: datetime | None) -> bool:
    """Whether a charge for this invoice failed since then. Zoho's times have whole seconds."""
    if since is None or payment.created_time is None or payment.status != "failure":
        return False
    is_new = payment.created_time >= since.replace(microsecond=0)
    return is_new and billing_id in [applied.invoice_id for applied in payment.invoices]


def _require_currency(wanted: str, currency: str | None) -> None:
    if currency is not None and currency != wanted:
        raise PermanentError("the customer is billed in another currency", code="currency_mismatch")
