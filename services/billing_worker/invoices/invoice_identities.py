"""Give each invoice that Books lists the id under which it is, or will be, announced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.billing_worker.repositories.invoices import Invoices
from services.billing_worker.repositories.users import User
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.zoho.products.billing.client import ZohoBilling
from shared.zoho.products.books.models import Invoice


@dataclass(frozen=True)
class InvoiceIdentity:
    invoice_id: str
    subscription_id: str | None


class InvoiceIdentities:
    """An invoice of Billing's has an id made from Billing's, and Books knows it by its number."""

    def __init__(self, zoho: ZohoBilling, invoices: Invoices) -> None:
        self._zoho = zoho
        self._invoices = invoices

    async def of(
        self, user: User, listed: Sequence[Invoice], work: UnitOfWork
    ) -> list[InvoiceIdentity]:
        """The identities of a user's invoices. New ones are recorded.

        One of Billing's that was not announced yet stays so, and is announced as soon as the
        lookup of invoices gets to it.
        """
        stored = {
            known.number: InvoiceIdentity(known.invoice_id, known.subscription_id)
            for invoice in listed
            if (known := await self._invoices.find_by_number(work.org, invoice.invoice_number))
        }
        unknown = [invoice for invoice in listed if invoice.invoice_number not in stored]
        billing_ids = await self._billing_ids(user) if unknown else {}
        for invoice in unknown:
            billing_id = billing_ids.get(invoice.invoice_number)
            invoice_id = self._invoices.id_of(work.org, billing_id or invoice.invoice_id)
            if billing_id is not None:
                await self._invoices.request_lookup(
                    work, user.user_id, billing_id, subscription_id=None
                )
            await self._invoices.record(
                work, invoice_id, user.user_id, invoice, announced=billing_id is None
            )
            stored[invoice.invoice_number] = InvoiceIdentity(invoice_id, None)
        return [stored[invoice.invoice_number] for invoice in listed]

    async def _billing_ids(self, user: User) -> dict[str, str]:
        """Billing's ids of the user's invoices, by number."""
        if user.customer_id is None:
            return {}
        invoices = await self._zoho.invoices_of(customer_id=user.customer_id)
        return {invoice.number: invoice.invoice_id for invoice in invoices if invoice.number}
