"""Create, void and write off invoices on the application's command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from services.billing_worker.id_conflicts import canonical_lines, ensure_same_invoice
from services.billing_worker.invoices.invoice_sync import InvoiceSync, invoice_issued
from services.billing_worker.ledger.ledger import Contacts, Ledger
from services.billing_worker.repositories.invoices import Invoices, StoredInvoice
from services.billing_worker.repositories.users import Users
from shared.contracts.commands import (
    InvoiceCreateRequested,
    InvoiceVoidRequested,
    InvoiceWriteOffRequested,
)
from shared.errors import LookAgain, NotYetKnown, PermanentError
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.zoho.products.books.client import ZohoBooks
from shared.zoho.products.books.models import Invoice

# The integration makes the contact soon after the customer, or a person has to look at it.
_CONTACT_RETRY_S: Final = 60.0
# Books takes 100 characters (https://www.zoho.com/books/api/v3/invoices/).
_LONGEST_LINE_NAME: Final = 100


@dataclass(frozen=True, kw_only=True)
class ApplicationInvoiceHandlers:
    """`invoice_field` is Books' unique custom field. It turns a second create into an update.

    Without `books` (the organization has Billing alone) no invoice can be created.
    """

    books: ZohoBooks | None
    ledger: Ledger
    users: Users
    contacts: Contacts
    invoices: Invoices
    invoice_sync: InvoiceSync
    invoice_field: str | None

    async def create(self, message: InvoiceCreateRequested, work: UnitOfWork) -> None:
        user = await self.users.get(work.org, message.user_id)
        if user is None:
            raise NotYetKnown("no sign-up of this user arrived yet", key=message.user_id)
        known = await self.invoices.get(work.org, message.invoice_id)
        if known is not None:
            lines = await self.invoices.lines(work.org, message.invoice_id)
            ensure_same_invoice(message, known, lines)
            if lines is not None:
                return  # later changes by staff stay
        if self.books is None:
            raise PermanentError("the organization has no Books", code="no_books")
        if not self.invoice_field:
            raise PermanentError(
                "ZOHO_BOOKS_INVOICE_FIELD is not set", code="invoice_field_not_set"
            )
        contact_id = await self.contacts.id_of(user, work)
        if contact_id is None:
            raise LookAgain(
                "Books has no contact that is surely this user's",
                code="no_books_contact",
                retry_after_s=_CONTACT_RETRY_S,
            )
        if message.currency:
            await self._require_currency(contact_id, message.currency)
        invoice = await _issue(self.books, message, contact_id)
        await self.invoices.record(
            work, message.invoice_id, user.user_id, invoice, origin="application"
        )
        await self.invoices.record_lines(
            work, message.invoice_id, user.user_id, canonical_lines(message.lines)
        )
        if known is None:
            work.publish(
                invoice_issued(
                    message.invoice_id,
                    user.user_id,
                    invoice,
                    subscription_id=None,
                    origin="application",
                ),
                once_for=message.invoice_id,
            )

    async def _require_currency(self, contact_id: str, currency: str) -> None:
        if await self.contacts.currency_of(contact_id) not in (currency, None):
            raise PermanentError(
                "the customer is billed in another currency", code="currency_mismatch"
            )

    async def void(self, message: InvoiceVoidRequested, work: UnitOfWork) -> None:
        stored, books_id = await self._known(work.org, message.invoice_id)
        invoice = await self.ledger.invoice(books_id)
        if invoice.status.lower() not in ("void", "voided"):
            if invoice.payment_made or invoice.credits_applied:
                raise PermanentError(
                    "the invoice has payments or credits", code="invoice_not_voidable"
                )
            await self.ledger.mark_invoice_void(books_id)
        await self.invoice_sync.refresh(work, stored, origin="application")

    async def write_off(self, message: InvoiceWriteOffRequested, work: UnitOfWork) -> None:
        stored, books_id = await self._known(work.org, message.invoice_id)
        if (await self.ledger.invoice(books_id)).balance > 0:
            await self.ledger.write_off_invoice(books_id)
        await self.invoice_sync.refresh(work, stored, origin="application")

    async def _known(self, org: str, invoice_id: str) -> tuple[StoredInvoice, str]:
        stored = await self.invoices.get(org, invoice_id)
        if stored is None or stored.books_id is None:
            raise await self.invoices.unknown(org, invoice_id)
        return stored, stored.books_id


async def _issue(books: ZohoBooks, message: InvoiceCreateRequested, contact_id: str) -> Invoice:
    """Create the invoice and mark it as sent: Books counts a draft in nothing.

    Both calls are idempotent, so a crash between them is made good by the next attempt. Zoho
    mails nothing to the customer.
    """
    lines = [
        # Clients of Zoho's send a name with each line that has no `item_id`.
        {"name": line.description[:_LONGEST_LINE_NAME], **line.model_dump()}
        for line in message.lines
    ]
    body = {"customer_id": contact_id, "line_items": lines}
    invoice = await books.upsert_invoice(message.invoice_id, body)
    if invoice.status.lower() != "draft":
        return invoice
    await books.mark_invoice_sent(invoice.invoice_id)
    return await books.invoice(invoice.invoice_id)
