"""Decide which invoices a status in `invoice.list_requested.v1` means."""

from __future__ import annotations

from datetime import date
from typing import Final

from shared.contracts.commands.invoices import InvoiceStatus
from shared.zoho.products.books.models import Invoice

# Of these the day decides, because an invoice becomes overdue without any change.
NEEDS_TODAY: Final[frozenset[InvoiceStatus]] = frozenset({"sent", "overdue"})


def has_status(invoice: Invoice, status: InvoiceStatus, today: date) -> bool:
    """Whether the invoice has the status, in the sense of the command.

    Books' own word is one of several that may apply at a time: an invoice that was sent is unpaid
    too, and an overdue one may be partly paid.
    """
    match status:
        case "draft":
            return invoice.status.lower() == "draft"
        case "void":
            return invoice.status.lower() in ("void", "voided")
        case "paid":
            return invoice.counts and invoice.balance <= 0
        case "unpaid":
            return _is_owed(invoice)
        case "partially_paid":
            return _is_owed(invoice) and invoice.balance < invoice.total
        case "overdue":
            return _is_owed(invoice) and _is_past_due(invoice, today)
        case "sent":
            untouched = _is_owed(invoice) and invoice.balance >= invoice.total
            return untouched and not _is_past_due(invoice, today)


def _is_owed(invoice: Invoice) -> bool:
    return invoice.counts and invoice.balance > 0


def _is_past_due(invoice: Invoice, today: date) -> bool:
    due = invoice.due_date or invoice.date
    return due is not None and due < today
