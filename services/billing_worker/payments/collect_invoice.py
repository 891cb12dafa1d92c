"""Charge a stored card with the balance of an invoice, once for each invoice and command."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from services.billing_worker.customers.customers import Customers
from services.billing_worker.repositories.payments import Payments
from shared.errors import ZohoRejected
from shared.zoho.effects.effects import Effect, EffectKey, EffectResult, Effects
from shared.zoho.products.billing.client import COLLECT_INVOICE, ZohoBilling
from shared.zoho.products.billing.models import BillingInvoice, Payment

# So far Zoho's clock and PostgreSQL's may differ when a decline is all the evidence there is.
_CLOCKS_DIFFER_BY: Final = timedelta(minutes=5)
# The charge was surely refused, and the question is only by whom: any clock will do.
_OF_THE_SAME_DAY: Final = timedelta(days=1)


@dataclass(kw_only=True)
class CollectInvoice(Effect[ZohoBilling]):
    """The charge for one invoice. `billing_id` and `customer_id` are Billing's.

    A charge that the bank declined is a result: the command was carried out, and is not done again
    when its worker dies before it could say so. A later command, with another `message_id`, tries
    the card once more.
    """

    zoho: ZohoBilling
    effects: Effects
    customers: Customers
    payments: Payments
    org: str
    message_id: str
    invoice_id: str
    billing_id: str
    customer_id: str
    _card_id: str = field(default="", init=False)

    @property
    def key(self) -> EffectKey:
        return EffectKey(self.org, COLLECT_INVOICE.name, self.invoice_id)

    async def is_paid_otherwise(self) -> bool:
        """Whether the invoice was paid before anybody tried to collect it by this command."""
        if await self.effects.may_be_done(self.key, self) or await self.effects.is_presumed(
            self.key
        ):
            return False
        return is_paid(await self.zoho.invoice(self.billing_id))

    async def prepare(self) -> None:
        # Only when a charge is right: a missing card proves nothing about an earlier charge.
        self._card_id = await self.customers.card(self.customer_id)

    async def act(self, zoho: ZohoBilling) -> EffectResult:
        try:
            await zoho.collect_invoice(self.billing_id, card_id=self._card_id)
        except ZohoRejected:
            # Zoho's refusals do not say who refused. A bank leaves a payment that failed.
            if (declined := await self._declined(_OF_THE_SAME_DAY)) is not None:
                return self._result_of(declined)
            raise
        return {}

    async def find(self) -> EffectResult | None:
        if is_paid(await self.zoho.invoice(self.billing_id)):
            return {}
        declined = await self._declined(_CLOCKS_DIFFER_BY)
        return self._result_of(declined) if declined is not None else None

    def stands(self, result: EffectResult) -> bool:
        return "declined" not in result or result["message_id"] == self.message_id

    def _result_of(self, declined: Payment) -> EffectResult:
        return {"declined": declined.model_dump(mode="json"), "message_id": self.message_id}

    async def _declined(self, clocks_differ_by: timedelta) -> Payment | None:
        """The charge of this attempt that the bank declined.

        One that was recorded before the attempt is an earlier one. That is seen by PostgreSQL's
        clock alone. Zoho's clock decides only on those that nobody has recorded.
        """
        intended_at = await self.effects.intended_at(self.key)
        if intended_at is None:
            return None
        failed = [
            payment
            for payment in await self.zoho.payments_of(self.customer_id)
            if _is_declined_charge(payment, self.billing_id)
            and payment.created_time is not None
            and payment.created_time >= intended_at.replace(microsecond=0) - clocks_differ_by
        ]
        for payment in sorted(failed, key=_age, reverse=True):
            recorded_at = await self.payments.recorded_at(self.org, payment.payment_id)
            if recorded_at is None or recorded_at >= intended_at:
                return payment
        return None


def declined_in(result: EffectResult) -> Payment | None:
    """Return Zoho's record of the charge that the bank declined, if it did."""
    declined = result.get("declined")
    return None if declined is None else Payment.model_validate(declined)


def is_paid(invoice: BillingInvoice) -> bool:
    """Whether nothing is owed. Without a balance the status decides."""
    return invoice.status == "paid" if invoice.balance is None else not invoice.balance


def _is_declined_charge(payment: Payment, billing_id: str) -> bool:
    applied_to = [applied.invoice_id for applied in payment.invoices]
    return payment.status == "failure" and billing_id in applied_to


def _age(payment: Payment) -> tuple[str, str]:
    created = payment.created_time.isoformat() if payment.created_time else ""
    return created, payment.payment_id
