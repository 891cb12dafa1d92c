"""Charge a stored card with the balance of an invoice, once for each invoice."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from services.billing_worker.customers.customers import Customers
from shared.errors import PermanentError, ZohoRejected
from shared.zoho.effects.effects import Absence, Effect, EffectKey, EffectResult, Effects
from shared.zoho.products.billing.client import COLLECT_INVOICE, ZohoBilling
from shared.zoho.products.billing.models import BillingInvoice, Payment


class CardDeclined(PermanentError):
    """The bank declined the charge. `payment` is Zoho's record of it. The handler catches it."""

    def __init__(self, payment: Payment) -> None:
        super().__init__("the card was declined")
        self.payment = payment


@dataclass(kw_only=True)
class CollectInvoice(Effect[ZohoBilling]):
    """The charge for one invoice. `billing_id` and `customer_id` are Billing's.

    Only a decline that Zoho lists proves that nobody was charged. A decline from before this
    attempt proves nothing.
    """

    zoho: ZohoBilling
    effects: Effects
    customers: Customers
    org: str
    invoice_id: str
    billing_id: str
    customer_id: str
    _card_id: str = field(default="", init=False)

    @property
    def key(self) -> EffectKey:
        return EffectKey(self.org, COLLECT_INVOICE.name, self.invoice_id)

    async def is_paid_otherwise(self) -> bool:
        """Whether the invoice was paid before anybody tried to collect it here."""
        if await self.effects.may_be_done(self.key):
            return False
        return is_paid(await self.zoho.invoice(self.billing_id))

    async def prepare(self) -> None:
        # Only when a charge is right: a missing card proves nothing about an earlier charge.
        self._card_id = await self.customers.card(self.customer_id)

    async def act(self, zoho: ZohoBilling) -> EffectResult:
        try:
            await zoho.collect_invoice(self.billing_id, card_id=self._card_id)
        except ZohoRejected as error:
            # Zoho's refusals do not say who refused. A bank leaves a payment that failed.
            if (declined := await self._declined()) is not None:
                raise CardDeclined(declined) from error
            raise
        return {}

    async def find(self) -> EffectResult | Absence | None:
        if is_paid(await self.zoho.invoice(self.billing_id)):
            return {}
        return Absence.PROVEN if await self._declined() is not None else None

    async def _declined(self) -> Payment | None:
        """The charge of this attempt that the bank declined."""
        intended_at = await self.effects.intended_at(self.key)
        for payment in await self.zoho.payments_of(self.customer_id):
            if _was_declined(payment, self.billing_id, since=intended_at):
                return payment
        return None


def is_paid(invoice: BillingInvoice) -> bool:
    """Whether nothing is owed. Without a balance the status decides."""
    return invoice.status == "paid" if invoice.balance is None else not invoice.balance


def _was_declined(payment: Payment, billing_id: str, *, since: datetime | None) -> bool:
    """Whether a charge for this invoice failed since then. Zoho's times have whole seconds."""
    if since is None or payment.created_time is None or payment.status != "failure":
        return False
    is_new = payment.created_time >= since.replace(microsecond=0)
    return is_new and billing_id in [applied.invoice_id for applied in payment.invoices]
