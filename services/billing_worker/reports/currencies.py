"""Find the currency of payments and refunds whose rows in Books' lists lack it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from shared.zoho.products.books.client import ZohoBooks
from shared.zoho.products.books.models import BooksRefund, CustomerPayment

# One page of contacts costs one call and has 200 of them.
_READ_SINGLY: Final = 3


class Currencies:
    """Currencies as one report needs them. Everything read is kept for the rest of the report."""

    def __init__(self, books: ZohoBooks) -> None:
        self._books = books
        self._only: str | None = None
        self._loaded = False
        self._by_contact: dict[str, str | None] = {}
        self._by_note: dict[str, str | None] = {}

    async def of_payments(self, payments: Sequence[CustomerPayment]) -> list[str]:
        """The currency of each payment: its own, the organization's only one, or the contact's."""
        if all(payment.currency_code for payment in payments):
            return [payment.currency_code or "" for payment in payments]
        if (only := await self._only_currency()) is not None:
            return [payment.currency_code or only for payment in payments]
        unknown = {p.customer_id for p in payments if not p.currency_code and p.customer_id}
        await self._load_contacts(unknown - self._by_contact.keys())
        return [await self._of_payment(payment) for payment in payments]

    async def of_credit_note_refund(self, refund: BooksRefund) -> str:
        """The refund's own currency, the organization's only one, or the credit note's."""
        if refund.currency_code:
            return refund.currency_code
        if (only := await self._only_currency()) is not None:
            return only
        if refund.creditnote_id is None:
            return ""
        if refund.creditnote_id not in self._by_note:
            note = await self._books.credit_note(refund.creditnote_id)
            self._by_note[refund.creditnote_id] = note.currency_code
        return self._by_note[refund.creditnote_id] or ""

    async def _only_currency(self) -> str | None:
        if not self._loaded:
            codes = await self._books.currencies()
            self._only = codes[0] if len(codes) == 1 else None
            self._loaded = True
        return self._only

    async def _load_contacts(self, contact_ids: set[str]) -> None:
        if len(contact_ids) > _READ_SINGLY:
            contacts = await self._books.contacts()
        else:
            contacts = [await self._books.contact(contact_id) for contact_id in contact_ids]
        self._by_contact |= {contact.contact_id: contact.currency_code for contact in contacts}

    async def _of_payment(self, payment: CustomerPayment) -> str:
        currency = payment.currency_code or self._by_contact.get(payment.customer_id or "")
        if currency is None:
            currency = (await self._books.customer_payment(payment.payment_id)).currency_code
        return currency or ""
