"""Answer commands that show or list invoices, from the ledger."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from services.billing_worker.invoices.invoice_identities import InvoiceIdentities
from services.billing_worker.invoices.invoice_sync import InvoiceSync
from services.billing_worker.invoices.status_filter import NEEDS_TODAY, has_status
from services.billing_worker.ledger.ledger import Contacts, Ledger
from services.billing_worker.organization_day import OrganizationDay
from services.billing_worker.repositories.invoices import Invoices, StoredInvoice
from services.billing_worker.repositories.users import Users
from shared.contracts.commands import InvoiceListRequested, InvoiceRequested
from shared.contracts.commands.invoices import InvoiceStatus
from shared.contracts.money import as_money
from shared.contracts.replies import (
    InvoiceList,
    InvoicePdf,
    InvoiceResult,
    InvoiceResultLine,
    InvoiceSummary,
)
from shared.errors import NotYetKnown
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.zoho.products.books.models import BooksInvoiceLine, Invoice

_PAGE: Final = 50


@dataclass(frozen=True, kw_only=True)
class InvoiceHandlers:
    ledger: Ledger
    users: Users
    contacts: Contacts
    invoices: Invoices
    invoice_sync: InvoiceSync
    identities: InvoiceIdentities
    organization_day: OrganizationDay

    async def show(self, message: InvoiceRequested, work: UnitOfWork) -> None:
        stored = await self.invoices.get(work.org, message.invoice_id)
        if stored is None or stored.books_id is None:
            raise await self.invoices.unknown(work.org, message.invoice_id)
        if message.format == "pdf":
            # Imported late: it takes 7 MB of memory that a worker without PDF commands saves.
            from services.billing_worker.invoices.pdf_links import without_links

            pdf = without_links(await self.ledger.invoice_pdf(stored.books_id))
            work.reply(
                InvoicePdf(
                    invoice_id=stored.invoice_id,
                    number=stored.number or "",
                    size_bytes=len(pdf),
                    content=base64.b64encode(pdf),
                ).wire()
            )
            return
        invoice = await self.ledger.invoice(stored.books_id)
        if stored.announced_at is not None:
            await self.invoice_sync.apply(work, stored, invoice, origin="zoho")
        work.reply(_result(stored, invoice).wire())

    async def list_of_user(self, message: InvoiceListRequested, work: UnitOfWork) -> None:
        user = await self.users.get(work.org, message.user_id)
        if user is None:
            raise NotYetKnown("no sign-up of this user arrived yet", key=message.user_id)
        contact_id = await self.contacts.id_of(user, work)
        invoices = await self.ledger.invoices_of(contact_id) if contact_id else []
        wanted = await self._with_status(invoices, message.status)
        wanted.reverse()  # Books gives the oldest first
        first = (message.page - 1) * _PAGE
        shown = wanted[first : first + _PAGE]
        identified = await self.identities.of(user, shown, work)
        work.reply(
            InvoiceList(
                user_id=user.user_id,
                page=message.page,
                has_more=first + _PAGE < len(wanted),
                invoices=tuple(
                    InvoiceSummary(**_summary(known.invoice_id, known.subscription_id, invoice))
                    for invoice, known in zip(shown, identified, strict=True)
                ),
            ).wire()
        )

    async def _with_status(
        self, invoices: Sequence[Invoice], status: InvoiceStatus | None
    ) -> list[Invoice]:
        if status is None:
            return list(invoices)
        # Without a look at the day no invoice is past due, which those statuses do not ask.
        today = await self.organization_day.today() if status in NEEDS_TODAY else date.min
        return [invoice for invoice in invoices if has_status(invoice, status, today)]


def _summary(invoice_id: str, subscription_id: str | None, invoice: Invoice) -> dict[str, object]:
    return {
        "invoice_id": invoice_id,
        "number": invoice.invoice_number,
        "status": invoice.status,
        "date": invoice.date,
        "due_date": invoice.due_date,
        "currency": invoice.currency_code,
        "total": as_money(invoice.total, invoice.currency_code),
        "balance": as_money(invoice.balance, invoice.currency_code),
        "subscription_id": subscription_id,
    }


def _result(stored: StoredInvoice, invoice: Invoice) -> InvoiceResult:
    currency = invoice.currency_code
    return InvoiceResult(
        **_summary(stored.invoice_id, stored.subscription_id, invoice),
        user_id=stored.user_id,
        tax_total=as_money(invoice.tax_total, currency) if invoice.tax_total is not None else None,
        lines=tuple(_line(line, currency) for line in invoice.line_items),
    )


def _line(line: BooksInvoiceLine, currency: str | None) -> InvoiceResultLine:
    quantity, rate = line.quantity or Decimal(0), line.rate or Decimal(0)
    total = line.item_total if line.item_total is not None else quantity * rate
    return InvoiceResultLine(
        description=line.description or line.name or "",
        quantity=quantity,
        rate=as_money(rate, currency),
        total=as_money(total, currency),
    )
