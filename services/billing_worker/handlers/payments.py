"""Money: recorded, collected, given back. What may have moved is never moved again unasked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from services.billing_worker.customers.customers import Customers
from services.billing_worker.id_conflicts import (
    must_be_this_payment,
    must_be_this_refund,
    must_be_this_wish,
    plain,
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
from shared.contracts.money import as_money, decimals_of, is_too_fine
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
        """An offline payment: written down at Zoho, no card is charged."""
        known = await self.payments.get(work.org, message.payment_id)
        if known is not None:
            must_be_this_payment(message, known)
            return
        user = await self.users.get(work.org, message.user_id)
        if user is None:
            raise NotYetKnown("no sign-up of this user arrived yet")
        customer_id = await self.customers.ensure(user, work)
        invoice = await self._invoice(work.org, message.invoice_id, message.currency)
        if invoice is None:
            customer = await self.zoho.customer(customer_id)
            _must_be_in(message.currency, customer.currency_code)
        wish = {
            "amount": plain(message.amount),
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
            return {"payment_id": made.payment_id, **wish}

        async def find() -> EffectResult | None:
            for one in await self.zoho.payments_of(customer_id):
                if one.reference_number == message.payment_id:
                    told = {"amount": plain(one.amount)} if one.amount is not None else {}
                    return {"payment_id": one.payment_id, **told}
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
        must_be_this_wish(wish, result, "payment_id")
        await self._tell(
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
        """Charge the stored card with what an invoice still asks for; once for each invoice."""
        invoice = await self._known_invoice(work.org, message.invoice_id)
        user = await self.users.get(work.org, invoice.user_id)
        if user is None or user.customer_id is None or invoice.billing_id is None:
            raise PermanentError("the invoice cannot be collected", code="unknown_invoice")
        billing_id, customer_id = invoice.billing_id, user.customer_id
        card_id = ""

        async def choose_card() -> None:
            # Not before it is right to charge: that a card is gone says nothing of a charge before.
            nonlocal card_id
            card_id = await self.customers.card(customer_id)

        async def act(permit: Permit) -> EffectResult:
            try:
                await self.zoho.collect_invoice(billing_id, card_id=card_id, permit=permit)
            except ZohoRejected as error:
                raise PermanentError("the card was declined", code="payment_declined") from error
            return {}

        async def find() -> EffectResult | Absence | None:
            now = await self.zoho.invoice(billing_id)
            if _is_paid(now):
                return {}
            # Only a decline that Zoho shows proves that nobody was charged; not an earlier one,
            # for which the invoice may be collected now.
            intended_at = await self.effects.intended_at(key)
            refused = any(
                _was_declined(one, billing_id, since=intended_at)
                for one in await self.zoho.payments_of(customer_id)
            )
            return Absence.PROVEN if refused else None

        key = EffectKey(work.org, COLLECT_INVOICE.name, message.invoice_id)
        begun = await self.effects.may_be_done(key)
        if not begun and _is_paid(await self.zoho.invoice(billing_id)):
            return  # it was paid already, by whatever way
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
        await self._tell_collected(work, user, invoice, billing_id)

    async def refund(self, message: PaymentRefundRequested, work: UnitOfWork) -> None:
        """Give a card payment back, or a part of it."""
        stored = await self.payments.get(work.org, message.payment_id)
        if stored is None:
            raise PermanentError("no payment has this id", code="unknown_payment")
        if is_too_fine(message.amount, stored.currency):
            raise InvalidMessage(
                f"amount must have at most {decimals_of(stored.currency)} digits after the point"
                " in the payment's currency"
            )
        known = await self.payments.refund(work.org, message.refund_id)
        if known is not None:
            must_be_this_refund(message, known)
            return
        before = await self.payments.refunded(work.org, stored.payment_id)
        wish = {"of_payment": stored.payment_id, "amount": plain(message.amount)}
        key = EffectKey(work.org, REFUND_PAYMENT.name, message.refund_id)
        if not await self.effects.may_be_done(key):
            await self._must_be_by_card(stored.zoho_id)

        async def act(permit: Permit) -> EffectResult:
            made = await self.zoho.refund_payment(
                stored.zoho_id,
                amount=message.amount,
                description=f"{message.reason}\nref {message.refund_id}",
                permit=permit,
            )
            return {"refund_id": made.refund_id, **wish}

        async def find() -> EffectResult | Absence | None:
            given_back = (await self.zoho.payment(stored.zoho_id)).amount_refunded
            if given_back is None:
                return None  # a field that Zoho may leave out: it says nothing of what happened
            if given_back == before + message.amount:
                return wish
            # As much as our earlier refunds and no more: this one did not happen. Anything else is
            # the doing of others too, and a person has to look.
            return Absence.PROVEN if given_back == before else None

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
        must_be_this_wish(wish, result, "refund_id")
        self.payments.record_refund(work, stored.payment_id, message.refund_id, message.amount)

    async def _must_be_by_card(self, zoho_id: str) -> None:
        if (await self.zoho.payment(zoho_id)).autotransaction is None:
            raise PermanentError("only card payments can be refunded", code="refund_not_possible")

    async def _tell_collected(
        self, work: UnitOfWork, user: User, invoice: StoredInvoice, billing_id: str
    ) -> None:
        now = await self.zoho.invoice(billing_id)
        if not now.payments:
            return
        paid = now.payments[-1]
        if await self.payments.with_zoho_id(work.org, paid.payment_id):
            return  # a webhook was faster
        await self._tell(
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

    async def _tell(self, work: UnitOfWork, user: User, payment: StoredPayment) -> None:
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
        _must_be_in(currency, invoice.currency)
        return invoice


def _is_paid(invoice: BillingInvoice) -> bool:
    """Whether nothing is owed. A balance left out says nothing; the status then does."""
    return invoice.status == "paid" if invoice.balance is None else not invoice.balance


def _was_declined(payment: Payment, billing_id: str, *, since: datetime | None) -> bool:
    """Whether it is a charge for this invoice that failed since then; Zoho's times have seconds."""
    if since is None or payment.created_time is None or payment.status != "failure":
        return False
    is_new = payment.created_time >= since.replace(microsecond=0)
    return is_new and billing_id in [one.invoice_id for one in payment.invoices]


def _must_be_in(wanted: str, currency: str | None) -> None:
    if currency is not None and currency != wanted:
        raise PermanentError("the customer is billed in another currency", code="currency_mismatch")
