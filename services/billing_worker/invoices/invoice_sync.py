"""Compare Books' state of an invoice with the stored one, then record and announce changes."""

from __future__ import annotations

from datetime import UTC, datetime

from services.billing_worker.ledger.ledger import Ledger
from services.billing_worker.repositories.invoices import Invoices, StoredInvoice
from shared.contracts.events import InvoiceChanged, InvoiceIssued, Origin
from shared.contracts.money import as_money
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.zoho.products.books.models import Invoice


class InvoiceSync:
    def __init__(self, ledger: Ledger, invoices: Invoices) -> None:
        self._ledger = ledger
        self._invoices = invoices

    async def refresh(
        self, work: UnitOfWork, stored: StoredInvoice, *, origin: Origin = "zoho"
    ) -> None:
        """Read the invoice from the ledger and apply what has changed."""
        if stored.books_id is None:
            return
        await self.apply(work, stored, await self._ledger.invoice(stored.books_id), origin=origin)

    async def apply(
        self, work: UnitOfWork, stored: StoredInvoice, invoice: Invoice, *, origin: Origin
    ) -> None:
        """Record and announce `invoice` when its status or balance differs from `stored`."""
        if (stored.status, stored.balance) == (invoice.status, invoice.balance):
            return
        currency = invoice.currency_code or stored.currency or ""
        self._invoices.require_unchanged(work, stored)
        await self._invoices.record(work, stored.invoice_id, stored.user_id, invoice)
        work.publish(
            InvoiceChanged(
                user_id=stored.user_id,
                invoice_id=stored.invoice_id,
                number=invoice.invoice_number,
                status=invoice.status,
                total=as_money(invoice.total, currency),
                balance=as_money(invoice.balance, currency),
                currency=currency,
                date=invoice.date or stored.dated or datetime.now(UTC).date(),
                due_date=invoice.due_date,
                subscription_id=stored.subscription_id,
                origin=origin,
            )
        )


def invoice_issued(
    invoice_id: str, user_id: str, invoice: Invoice, *, subscription_id: str | None, origin: Origin
) -> InvoiceIssued:
    """Build the announcement of an invoice, with our ids."""
    return InvoiceIssued(
        user_id=user_id,
        invoice_id=invoice_id,
        number=invoice.invoice_number,
        status=invoice.status,
        total=as_money(invoice.total, invoice.currency_code),
        balance=as_money(invoice.balance, invoice.currency_code),
        currency=invoice.currency_code or "",
        date=invoice.date or datetime.now(UTC).date(),
        due_date=invoice.due_date,
        subscription_id=subscription_id,
        origin=origin,
    )
