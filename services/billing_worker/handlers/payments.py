"""Record, collect and refund payments, each once: money that may have moved is not moved again."""

from __future__ import annotations

from dataclasses import dataclass

from services.billing_worker.customers.customers import Customers
from services.billing_worker.id_conflicts import (
    ensure_same_payment,
    ensure_same_refund,
    ensure_same_request,
)
from services.billing_worker.invoices.invoice_sync import InvoiceSync
from services.billing_worker.payments.collect_invoice import CollectInvoice, declined_in
from services.billing_worker.payments.payment_sync import PaymentSync
from services.billing_worker.payments.record_books_payment import RecordBooksPayment
from services.billing_worker.payments.record_payment import RecordPayment
from services.billing_worker.payments.refund_payment import RefundPayment
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
from shared.zoho.effects.effects import EffectKey, Effects
from shared.zoho.products.billing.client import (
    COLLECT_INVOICE,
    CREATE_PAYMENT,
    REFUND_PAYMENT,
    ZohoBilling,
)
from shared.zoho.products.books.client import CREATE_CUSTOMER_PAYMENT, ZohoBooks


@dataclass(frozen=True, kw_only=True)
class PaymentHandlers:
    zoho: ZohoBilling
    books: ZohoBooks
    effects: Effects
    users: Users
    customers: Customers
    invoices: Invoices
    invoice_sync: InvoiceSync
    payments: Payments
    payment_sync: PaymentSync

    async def record(self, message: PaymentRecordRequested, work: UnitOfWork) -> None:
        """Record an offline payment at Zoho. No card is charged."""
        known = await self.payments.get(work.org, message.payment_id)
        if known is not None:
            ensure_same_payment(message, known)
            return
        user = await self.users.get(work.org, message.user_id)
        if user is None:
            raise NotYetKnown("no sign-up of this user arrived yet", key=message.user_id)
        customer_id = await self.customers.ensure(user, work)
        invoice = await self._invoice(work.org, message.invoice_id, message.currency)
        if invoice is None:
            customer = await self.zoho.customer(customer_id)
            _require_currency(message.currency, customer.currency_code)
        owner = UserKey(work.org, user.user_id)
        if invoice is not None and invoice.billing_id is None:
            zoho_id = await self._record_in_books(message, invoice, owner)
        else:
            zoho_id = await self._record_in_billing(message, invoice, customer_id, owner)
        await self._announce(
            work,
            user,
            StoredPayment(
                org=work.org,
                payment_id=message.payment_id,
                user_id=user.user_id,
                zoho_id=zoho_id,
                origin="application",
                outcome="succeeded",
                amount=message.amount,
                currency=message.currency,
                invoice_id=message.invoice_id,
            ),
        )
        if invoice is not None and invoice.billing_id is None:
            await self.invoice_sync.refresh(work, invoice, origin="application")

    async def _record_in_billing(
        self,
        message: PaymentRecordRequested,
        invoice: StoredInvoice | None,
        customer_id: str,
        owner: UserKey,
    ) -> str:
        """Record it for an invoice of Billing's, or as the customer's credit. Returns its id."""
        effect = RecordPayment(
            zoho=self.zoho,
            message=message,
            customer_id=customer_id,
            billing_invoice_id=invoice.billing_id if invoice else None,
        )
        result = await self.effects.perform(CREATE_PAYMENT, message.payment_id, owner, effect)
        ensure_same_request(effect.fingerprint, result, "payment_id")
        return str(result["payment_id"])

    async def _record_in_books(
        self, message: PaymentRecordRequested, invoice: StoredInvoice, owner: UserKey
    ) -> str:
        """Record it for an invoice that only Books has. Returns Books' id of the payment."""
        if invoice.books_id is None:
            raise PermanentError("no invoice has this id", code="unknown_invoice")
        in_books = await self.books.invoice(invoice.books_id)
        effect = RecordBooksPayment(
            zoho=self.books,
            message=message,
            contact_id=in_books.customer_id or "",
            books_invoice_id=invoice.books_id,
        )
        result = await self.effects.perform(
            CREATE_CUSTOMER_PAYMENT, message.payment_id, owner, effect
        )
        ensure_same_request(effect.fingerprint, result, "payment_id")
        return str(result["payment_id"])

    async def collect(self, message: PaymentCollectRequested, work: UnitOfWork) -> None:
        """Charge the stored card with the balance of an invoice, once for each invoice."""
        invoice = await self._known_invoice(work.org, message.invoice_id)
        user = await self.users.get(work.org, invoice.user_id)
        if user is None or user.customer_id is None or invoice.billing_id is None:
            # Books charges no card by its API.
            raise PermanentError(
                "only an invoice of Billing's can be collected", code="invoice_not_collectable"
            )
        effect = CollectInvoice(
            zoho=self.zoho,
            effects=self.effects,
            customers=self.customers,
            payments=self.payments,
            org=work.org,
            message_id=work.received.message_id if work.received else "",
            invoice_id=message.invoice_id,
            billing_id=invoice.billing_id,
            customer_id=user.customer_id,
        )
        if await effect.is_paid_otherwise():
            return
        owner = UserKey(work.org, user.user_id)
        result = await self.effects.perform(COLLECT_INVOICE, message.invoice_id, owner, effect)
        if (declined := declined_in(result)) is not None:
            await self.payment_sync.record_decline(work, user, invoice, declined)
            return
        await self._announce_collected(work, user, invoice, invoice.billing_id)

    async def refund(self, message: PaymentRefundRequested, work: UnitOfWork) -> None:
        """Refund a card payment or a part of it."""
        stored = await self.payments.get(work.org, message.payment_id)
        if stored is None:
            raise await self.payments.unknown(work.org, message.payment_id)
        if has_excess_decimals(message.amount, stored.currency):
            raise InvalidMessage(
                f"amount must have at most {decimals_of(stored.currency)} digits after the point"
                " in the payment's currency"
            )
        known = await self.payments.refund(work.org, message.refund_id)
        if known is not None:
            ensure_same_refund(message, known)
            return
        effect = RefundPayment(
            zoho=self.zoho,
            message=message,
            payment=stored,
            refunded_before=await self.payments.refunded_total(work.org, stored.payment_id),
        )
        if not await self.effects.may_be_done(
            EffectKey(work.org, REFUND_PAYMENT.name, message.refund_id)
        ):
            await self._require_card_payment(stored.zoho_id)
        owner = UserKey(work.org, stored.user_id)
        result = await self.effects.perform(REFUND_PAYMENT, message.refund_id, owner, effect)
        ensure_same_request(effect.fingerprint, result, "refund_id")
        self.payments.record_refund(work, stored.payment_id, message.refund_id, message.amount)

    async def _require_card_payment(self, zoho_id: str) -> None:
        try:
            by_card = (await self.zoho.payment(zoho_id)).autotransaction is not None
        except ZohoRejected as error:
            if error.status != 404:
                raise
            by_card = False  # recorded in Books
        if not by_card:
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
                ),
                once_for=payment.payment_id,
            )

    async def _known_invoice(self, org: str, invoice_id: str) -> StoredInvoice:
        invoice = await self.invoices.get(org, invoice_id)
        if invoice is None:
            raise await self.invoices.unknown(org, invoice_id)
        return invoice

    async def _invoice(
        self, org: str, invoice_id: str | None, currency: str
    ) -> StoredInvoice | None:
        if invoice_id is None:
            return None
        invoice = await self._known_invoice(org, invoice_id)
        _require_currency(currency, invoice.currency)
        return invoice


def _require_currency(wanted: str, currency: str | None) -> None:
    if currency is not None and currency != wanted:
        raise PermanentError("the customer is billed in another currency", code="currency_mismatch")
