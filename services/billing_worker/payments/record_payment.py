"""Record an offline payment in Billing, once for each payment id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from services.billing_worker.id_conflicts import canonical_amount
from shared.contracts.commands import PaymentRecordRequested
from shared.zoho.effects.effects import Effect, EffectResult
from shared.zoho.products.billing.client import ZohoBilling


@dataclass(frozen=True, kw_only=True)
class RecordPayment(Effect[ZohoBilling]):
    """A payment made outside of Zoho. No card is charged.

    `customer_id` and `billing_invoice_id` are Billing's.
    """

    zoho: ZohoBilling
    message: PaymentRecordRequested
    customer_id: str
    billing_invoice_id: str | None

    @property
    def fingerprint(self) -> dict[str, Any]:
        """The part of the command that the journal keeps, to compare a repetition with."""
        return {
            "amount": canonical_amount(self.message.amount),
            "currency": self.message.currency,
            "invoice_id": self.message.invoice_id,
        }

    async def act(self, zoho: ZohoBilling) -> EffectResult:
        payment = await zoho.create_payment(
            customer_id=self.customer_id,
            payment_id=self.message.payment_id,
            amount=self.message.amount,
            mode=self.message.mode,
            paid_on=self.message.date,
            invoice_id=self.billing_invoice_id,
        )
        return {"payment_id": payment.payment_id, **self.fingerprint}

    async def find(self) -> EffectResult | None:
        for payment in await self.zoho.payments_of(self.customer_id):
            if payment.reference_number == self.message.payment_id:
                result: EffectResult = {"payment_id": payment.payment_id}
                if payment.amount is not None:
                    result["amount"] = canonical_amount(payment.amount)
                return result
        return None
