"""Find the currency of payments, notes and refunds whose rows in Zoho's lists lack it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from services.billing_worker.ledger.ledger import Ledger
from services.billing_worker.reports.saved_reads import SavedReads
from shared.errors import PermanentError
from shared.zoho.products.books.models import BooksContact, BooksRefund, CreditNote, CustomerPayment
from shared.zoho.products.finance.pages import Listing

# One page of contacts or credit notes costs one call and has 200 of them.
_READ_SINGLY: Final = 3


class Currencies:
    """Currencies as one report needs them. Everything read is kept for the rest of the report.

    `notes`: the credit notes among which refunded ones are looked for first.
    """

    def __init__(self, ledger: Ledger, reads: SavedReads, notes: Listing[CreditNote]) -> None:
        self._ledger = ledger
        self._reads = reads
        self._notes = notes
        self._only: str | None = None
        self._loaded = False
        self._by_contact: dict[str, str | None] = {}

    async def of_payments(self, payments: Sequence[CustomerPayment]) -> list[str]:
        """The currency of each payment: its own, the organization's only one, or the contact's."""
        if all(payment.currency_code for payment in payments):
            return [payment.currency_code or "" for payment in payments]
        if (only := await self._only_currency()) is not None:
            return [payment.currency_code or only for payment in payments]
        unknown = {p.customer_id for p in payments if not p.currency_code and p.customer_id}
        await self._load_contacts(unknown - self._by_contact.keys())
        return [await self._of_payment(payment) for payment in payments]

    async def of_credit_notes(self, notes: Sequence[CreditNote]) -> list[str]:
        """The currency of each note: its own, or the organization's only one.

        Raises:
            PermanentError: `currency_unknown`. Neither is known.
        """
        if all(note.currency_code for note in notes):
            return [note.currency_code or "" for note in notes]
        only = await self._only_currency()
        return [_known(note.currency_code or only) for note in notes]

    async def of_credit_note_refunds(self, refunds: Sequence[BooksRefund]) -> list[str]:
        """The currency of each refund: its own, the organization's only one, or the note's.

        Raises PermanentError as `of_credit_notes`.
        """
        unknown = {r.creditnote_id for r in refunds if not r.currency_code and r.creditnote_id}
        lacking = any(not refund.currency_code for refund in refunds)
        only = await self._only_currency() if lacking else None
        notes = await self._of_notes(unknown) if only is None else {}
        return [
            _known(refund.currency_code or only or notes.get(refund.creditnote_id or ""))
            for refund in refunds
        ]

    async def _only_currency(self) -> str | None:
        if not self._loaded:
            codes = await self._ledger.currencies()
            self._only = codes[0] if len(codes) == 1 else None
            self._loaded = True
        return self._only

    async def _of_notes(self, ids: set[str]) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        if len(ids) > _READ_SINGLY:
            listed = self._reads.all_of("notes of refunds", self._notes)
            found = {note.creditnote_id: note.currency_code async for note in listed}
        # Named by their place, because their ids are Zoho's.
        for n, note_id in enumerate(sorted(ids - found.keys())):
            read = partial(self._note, note_id)
            (note,) = await self._reads.once(f"note of a refund {n}", CreditNote, read)
            found[note_id] = note.currency_code
        return found

    async def _note(self, note_id: str) -> list[CreditNote]:
        return [await self._ledger.credit_note(note_id)]

    async def _load_contacts(self, contact_ids: set[str]) -> None:
        contacts: list[BooksContact]
        if len(contact_ids) > _READ_SINGLY:
            listed = self._reads.all_of("contacts", self._ledger.contacts())
            contacts = [contact async for contact in listed]
        else:
            contacts = [await self._ledger.contact(contact_id) for contact_id in contact_ids]
        self._by_contact |= {contact.contact_id: contact.currency_code for contact in contacts}

    async def _of_payment(self, payment: CustomerPayment) -> str:
        currency = payment.currency_code or self._by_contact.get(payment.customer_id or "")
        if currency is None:
            currency = (await self._ledger.customer_payment(payment.payment_id)).currency_code
        return currency or ""


def _known(currency: str | None) -> str:
    if not currency:
        raise PermanentError(
            "Zoho does not say in which currency a credit note or refund is",
            code="currency_unknown",
        )
    return currency
