"""Refund a card payment or a part of it, once for each refund id."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from services.billing_worker.id_conflicts import canonical_amount
from services.billing_worker.repositories.payments import StoredPayment
from shared.contracts.commands import PaymentRefundRequested
from shared.zoho.effects.effects import Absence, Effect, EffectResult
from shared.zoho.products.billing.client import ZohoBilling


@dataclass(frozen=True, kw_only=True)
class RefundPayment(Effect[ZohoBilling]):
    """Money given back. `refunded_before` is the sum of our earlier refunds of the payment."""

    zoho: ZohoBilling
    message: PaymentRefundRequested
    payment: StoredPayment
    refunded_before: Decimal

    @property
    def fingerprint(self) -> dict[str, Any]:
        """The part of the command that the journal keeps, to compare a repetition with."""
        return {
            "of_payment": self.payment.payment_id,
            "amount": canonical_amount(self.message.amount),
        }

    async def act(self, zoho: ZohoBilling) -> EffectResult:
        refund = await zoho.refund_payment(
            self.payment.zoho_id,
            amount=self.message.amount,
            description=f"{self.message.reason}\nref {self.message.refund_id}",
        )
        return {"refund_id": refund.refund_id, **self.fingerprint}

    async def find(self) -> EffectResult | Absence | None:
        refunded = (await self.zoho.payment(self.payment.zoho_id)).amount_refunded
        if refunded is None:
            return None  # Zoho may leave the field out, which proves nothing
        if refunded == self.refunded_before + self.message.amount:
            return self.fingerprint
        # Exactly our earlier refunds: this one did not happen. Any other sum involves refunds by
        # others, and a person has to look.
        return Absence.PROVEN if refunded == self.refunded_before else None
