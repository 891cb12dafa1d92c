"""Create or adopt a user's customer in Billing, once, when it is first needed."""

from __future__ import annotations

from typing import Literal

import structlog

from services.billing_worker.customers.create_customer import CreateCustomer
from services.billing_worker.customers.free_name import with_free_name
from services.billing_worker.customers.user_fields import display_names
from services.billing_worker.repositories.organizations import Organizations
from services.billing_worker.repositories.users import User, Users
from shared.contracts.events import CustomerCreated
from shared.crypto.envelope import UserKey
from shared.errors import NotYetKnown, PermanentError
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.zoho.effects.effects import EffectResult, Effects
from shared.zoho.products.billing.client import CREATE_CUSTOMER, ZohoBilling

_LOG = structlog.get_logger()


class Customers:
    def __init__(
        self, zoho: ZohoBilling, effects: Effects, users: Users, organizations: Organizations
    ) -> None:
        self._zoho = zoho
        self._effects = effects
        self._users = users
        self._organizations = organizations

    async def ensure(
        self, user: User, work: UnitOfWork, *, left_out: tuple[Literal["phone"], ...] = ()
    ) -> str:
        """Return Billing's id of the user's customer, which is created if there is none.

        `left_out`: fields of the sign-up that are not certain, for the announcement.
        Raises:
            NotYetKnown: the user's email is not known yet.
        """
        if user.customer_id is not None:
            return user.customer_id
        email = user.email
        if email is None:
            raise NotYetKnown("no sign-up of this user arrived yet", key=user.user_id)

        result = await self._create(user, email)
        customer_id: str = result["customer_id"]
        if not result.get("marked", True):
            await self._mark(user, customer_id)
        await self._users.record_customer(work, user.user_id, customer_id)
        adopted = result.get("adopted", False)
        work.publish(
            CustomerCreated(user_id=user.user_id, adopted=adopted, left_out=left_out),
            once_for=user.user_id,
        )
        return customer_id

    async def _mark(self, user: User, customer_id: str) -> None:
        """Write our id into the customer, which Billing has stored without it.

        Not within the effect: an error here must not have the customer created once more.
        """
        customer = await self._zoho.customer(customer_id)
        if self._zoho.user_of(customer) is not None:
            return
        form = await self._zoho.mark_customer(customer, user.user_id)
        if form is None:
            _LOG.warning("Billing stores no custom field of customers", org=user.org)
        else:
            await self._organizations.remember_customer_field_form(user.org, form)

    async def _create(self, user: User, email: str) -> EffectResult:
        """Create the customer under the first display name that is not taken.

        An organization may forbid two customers of one name (code 3062), and people share names.
        """
        owner = UserKey(user.org, user.user_id)

        async def create(name: str) -> EffectResult:
            effect = CreateCustomer(
                zoho=self._zoho, users=self._users, user=user, email=email, display_name=name
            )
            return await self._effects.perform(CREATE_CUSTOMER, user.user_id, owner, effect)

        return await with_free_name(display_names(user.fields, user.user_id), create)

    async def card(self, customer_id: str) -> str:
        """Return Billing's id of a card of the customer that can be charged.

        Raises:
            PermanentError: `no_stored_card`.
        """
        for card in await self._zoho.cards(customer_id):
            if card.status in (None, "active"):
                return card.card_id
        raise PermanentError("the user has no stored card", code="no_stored_card")
