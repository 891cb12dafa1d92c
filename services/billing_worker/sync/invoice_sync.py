"""What Books says of an invoice, compared with what is stored: recorded and told when new."""

from __future__ import annotations

from datetime import UTC, datetime

from services.billing_worker.repositories.invoices import Invoices, StoredInvoice
from services.billing_worker.repositories.subscriptions import Origin
from shared.contracts.events import InvoiceChanged, InvoiceIssued
from shared.contracts.money import as_money
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.zoho.products.books.client import ZohoBooks
from shared.zoho.products.books.models import Invoice


class InvoiceSync:
    def __init__(self, books: ZohoBooks, invoices: Invoices) -> None:
        self._books = books
        self._invoices = invoices

    async def look(
        self, work: UnitOfWork, stored: StoredInvoice, *, origin: Origin = "zoho"
    ) -> None:
        """Read it from Books, and tell what has changed."""
        if stored.books_id is None:
            return
        await self.compare(work, stored, await self._books.invoice(stored.books_id), origin=origin)

    async def compare(
        self, work: UnitOfWork, stored: StoredInvoice, now: Invoice, *, origin: Origin
    ) -> None:
        if (stored.status, stored.balance) == (now.status, now.balance):
            return
        currency = now.currency_code or stored.currency or ""
        self._invoices.expect(work, stored)
        await self._invoices.record(work, stored.invoice_id, stored.user_id, now)
        work.publish(
            InvoiceChanged(
                user_id=stored.user_id,
                invoice_id=stored.invoice_id,
                number=now.invoice_number,
                status=now.status,
                total=as_money(now.total, currency),
                balance=as_money(now.balance, currency),
                currency=currency,
                date=now.date or stored.dated or datetime.now(UTC).date(),
                due_date=now.due_date,
                subscription_id=stored.subscription_id,
                origin=origin,
            )
        )


def issued(
    invoice_id: str, user_id: str, now: Invoice, *, subscription_id: str | None, origin: Origin
) -> InvoiceIssued:
    """The announcement of an invoice, in our ids."""
    return InvoiceIssued(
        user_id=user_id,
        invoice_id=invoice_id,
        number=now.invoice_number,
        status=now.status,
        total=as_money(now.total, now.currency_code),
        balance=as_money(now.balance, now.currency_code),
        currency=now.currency_code or "",
        date=now.date or datetime.now(UTC).date(),
        due_date=now.due_date,
        subscription_id=subscription_id,
        origin=origin,
    )
