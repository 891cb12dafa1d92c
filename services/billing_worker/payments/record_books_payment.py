"""Record an offline payment of an invoice that only Books has, once for each payment id."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from services.billing_worker.id_conflicts import canonical_amount
from shared.contracts.commands import PaymentRecordRequested
from shared.zoho.effects.effects import Effect, EffectResult
from shared.zoho.products.books.client import ZohoBooks


@dataclass(frozen=True, kw_only=True)
class RecordBooksPayment(Effect[ZohoBooks]):
    """A payment made outside of Zoho, for an invoice of the application's own.

    `contact_id` and `books_invoice_id` are those of Books. Billing does not know such an invoice
    and would keep the amount as the customer's credit.
    """

    zoho: ZohoBooks
    message: PaymentRecordRequested
    contact_id: str
    books_invoice_id: str

    @property
    def fingerprint(self) -> dict[str, Any]:
        """The part of the command that the journal keeps, to compare a repetition with."""
        return {
            "amount": canonical_amount(self.message.amount),
            "currency": self.message.currency,
            "invoice_id": self.message.invoice_id,
        }

    async def act(self, zoho: ZohoBooks) -> EffectResult:
        payment = await zoho.create_customer_payment(
            contact_id=self.contact_id,
            invoice_id=self.books_invoice_id,
            payment_id=self.message.payment_id,
            amount=self.message.amount,
            mode=self.message.mode,
            paid_on=self.message.date or datetime.now(UTC).date(),
        )
        return {"payment_id": payment.payment_id, **self.fingerprint}

    async def find(self) -> EffectResult | None:
        payment = await self.zoho.customer_payment_with_reference(
            self.message.payment_id, contact_id=self.contact_id
        )
        if payment is None:
            return None
        return {"payment_id": payment.payment_id, "amount": canonical_amount(payment.amount)}
