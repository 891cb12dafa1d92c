"""Erase a user's contact in Books: empty its fields, mark it inactive, name the invoices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.billing_worker.customers.user_fields import display_names
from services.billing_worker.erasing.billing_customers import LAW
from services.billing_worker.repositories.invoices import Invoices
from services.billing_worker.repositories.users import User, Users
from shared.contracts.webhooks import Product
from shared.crypto.envelope import UserKey
from shared.erasing.outcome import PartOutcome
from shared.erasing.placeholder import Placeholders
from shared.zoho.products.books.client import ZohoBooks
from shared.zoho.products.books.models import BooksContact


@dataclass(frozen=True, kw_only=True)
class BooksErasure:
    """Books' part. Its contact mirrors Billing's customer, under an id of its own."""

    books: ZohoBooks
    users: Users
    invoices: Invoices
    placeholders: Placeholders
    product: Product = "books"

    async def erase(self, user: UserKey, outcome: PartOutcome) -> None:
        stored = await self.users.get(user.org, user.user_id)
        if stored is not None:
            await outcome.remember({"contact": await self._contacts(user, stored)})
            if stored.customer_id is not None and not outcome.ids("contact"):
                outcome.miss("contact", "Books had none yet of the customer in Billing")
        placeholder = self.placeholders.of(user)
        issued = 0
        for contact_id in outcome.ids("contact"):
            with outcome.erasing("contact"):
                await self.books.anonymize_contact(
                    contact_id, name=placeholder.name, email=placeholder.email
                )
            with outcome.erasing("active contact"):
                await self.books.mark_contact_inactive(contact_id)
            issued += len(await self.books.invoices_of(contact_id))
        outcome.keep("contact", "an inactive, empty record", count=len(outcome.ids("contact")))
        invoices = await self.invoices.ids_of_user(user.org, user.user_id)
        outcome.keep("invoice", LAW, ids=invoices, count=max(issued, len(invoices)))

    async def _contacts(self, user: UserKey, stored: User) -> list[str]:
        """The user's contacts. After Billing's part its integration may have emptied them."""
        if stored.contact_id is not None:
            return [stored.contact_id]
        placeholder = self.placeholders.of(user)
        emptied = await self.books.contacts_with_email(placeholder.email)
        if emptied or stored.email is None:
            return [contact.contact_id for contact in emptied]
        names = {name.casefold() for name in display_names(stored.fields, stored.user_id)}
        return [
            contact.contact_id
            for contact in await self._of_nobody_else(user, stored.email)
            if (contact.contact_name or "").strip().casefold() in names
        ]

    async def _of_nobody_else(self, user: UserKey, email: str) -> Sequence[BooksContact]:
        return [
            contact
            for contact in await self.books.contacts_with_email(email)
            if await self.users.owner_of_contact(user.org, contact.contact_id)
            in (None, user.user_id)
        ]
