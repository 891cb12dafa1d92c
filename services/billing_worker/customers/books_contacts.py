"""A user as a customer of Books: Billing's integration makes it, under an id of its own."""

from __future__ import annotations

from services.billing_worker.repositories.users import User, Users
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.zoho.products.books.client import ZohoBooks
from shared.zoho.products.books.models import BooksContact


class BooksContacts:
    def __init__(self, books: ZohoBooks, users: Users) -> None:
        self._books = books
        self._users = users

    async def of(self, user: User, work: UnitOfWork) -> BooksContact | None:
        """Looked for by email once, remembered afterwards; None while Books has none."""
        if user.contact_id is not None:
            return BooksContact(contact_id=user.contact_id, email=user.email)
        if user.email is None:
            return None
        found = await self._books.contacts_with_email(user.email)
        if not found:
            return None
        await self._users.record_contact(work, user.user_id, found[0].contact_id)
        return found[0]
