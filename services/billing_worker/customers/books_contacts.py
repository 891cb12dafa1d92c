"""Find a user's contact in Books. Zoho's integration makes it, under an id of its own."""

from __future__ import annotations

from collections.abc import Sequence

from services.billing_worker.customers.user_fields import display_name
from services.billing_worker.repositories.users import User, Users
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.zoho.products.books.client import ZohoBooks
from shared.zoho.products.books.models import BooksContact


class BooksContacts:
    """Contacts of users. Several users may share an email, so an email alone decides nothing."""

    def __init__(self, books: ZohoBooks, users: Users) -> None:
        self._books = books
        self._users = users

    async def id_of(self, user: User, work: UnitOfWork) -> str | None:
        """Books' id of the user's contact, remembered once found. None while none is surely theirs.

        An invoice of the user that is found in Books names the contact too (`InvoiceFinder`).
        """
        if user.contact_id is not None:
            return user.contact_id
        if user.email is None:
            return None
        contacts = [
            contact
            for contact in await self._books.contacts_with_email(user.email)
            if not await self._is_of_another(contact, user)
        ]
        sharers = await self._users.list_with_email(user.org, user.email)
        contact = _theirs(
            user, contacts, [other for other in sharers if other.user_id != user.user_id]
        )
        if contact is None:
            return None
        await self._users.record_contact(work, user.user_id, contact.contact_id)
        return contact.contact_id

    async def currency_of(self, contact_id: str) -> str | None:
        """The currency in which Books bills the contact."""
        return (await self._books.contact(contact_id)).currency_code

    async def _is_of_another(self, contact: BooksContact, user: User) -> bool:
        owner = await self._users.owner_of_contact(user.org, contact.contact_id)
        return owner not in (None, user.user_id)


def _theirs(
    user: User, contacts: Sequence[BooksContact], sharers: Sequence[User]
) -> BooksContact | None:
    """The contact that is surely the user's. `sharers` are other users with the same email."""
    name = _folded(display_name(user.fields))
    if any(_folded(display_name(other.fields)) == name for other in sharers):
        return None
    named = [contact for contact in contacts if _folded(contact.contact_name) == name]
    if len(named) == 1:
        return named[0]
    return contacts[0] if len(contacts) == 1 and not sharers else None


def _folded(name: str | None) -> str:
    return (name or "").strip().casefold()
