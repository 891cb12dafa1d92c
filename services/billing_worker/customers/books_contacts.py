"""Find a user's contact in Books. Zoho's integration makes it, under an id of its own."""

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
        """The contact, searched by email once, then remembered. None while Books has none."""
        if user.contact_id is not None:
            return BooksContact(contact_id=user.contact_id, email=user.email)
        if user.email is None:
            return None
        contacts = await self._books.contacts_with_email(user.email)
        if not contacts:
            return None
        await self._users.record_contact(work, user.user_id, contacts[0].contact_id)
        return contacts[0]
