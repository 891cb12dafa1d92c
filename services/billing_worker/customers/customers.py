"""Create or adopt a user's customer in Billing, once, when it is first needed."""

from __future__ import annotations

from services.billing_worker.customers.user_fields import display_name
from services.billing_worker.repositories.users import User, Users
from shared.contracts.events import CustomerCreated
from shared.crypto.envelope import UserKey
from shared.errors import NotYetKnown, PermanentError
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.zoho.call.http import Permit
from shared.zoho.effects.effects import EffectKey, EffectResult, Effects
from shared.zoho.products.billing.client import CREATE_CUSTOMER, ZohoBilling
from shared.zoho.products.billing.models import Customer


class Customers:
    def __init__(self, zoho: ZohoBilling, effects: Effects, users: Users) -> None:
        self._zoho = zoho
        self._effects = effects
        self._users = users

    async def ensure(self, user: User, work: UnitOfWork) -> str:
        """Return Billing's id of the user's customer, which is created if there is none.

        Raises:
            NotYetKnown: the user's email is not known yet.
        """
        if user.customer_id is not None:
            return user.customer_id
        email = user.email
        if email is None:
            raise NotYetKnown("no sign-up of this user arrived yet")

        async def act(permit: Permit) -> EffectResult:
            return _made(await self._create(user, email, permit))

        async def find() -> EffectResult | None:
            customer = await self._probe(user, email)
            return _made(customer) if customer else None

        async def adopt() -> EffectResult | None:
            customer = await self._adoptable(user, email)
            return {**_made(customer), "adopted": True} if customer else None

        result = await self._effects.perform(
            EffectKey(user.org, CREATE_CUSTOMER.name, user.user_id),
            product="billing",
            lane=self._zoho.lane,
            act=act,
            find=find,
            adopt=adopt,
            settle_s=CREATE_CUSTOMER.settle_s,
            owner=UserKey(user.org, user.user_id),
        )
        customer_id: str = result["customer_id"]
        await self._users.record_customer(work, user.user_id, customer_id)
        work.publish(CustomerCreated(user_id=user.user_id, adopted=result.get("adopted", False)))
        return customer_id

    async def card(self, customer_id: str) -> str:
        """Return Billing's id of a card of the customer that can be charged.

        Raises:
            PermanentError: `no_stored_card`.
        """
        for card in await self._zoho.cards(customer_id):
            if card.status in (None, "active"):
                return card.card_id
        raise PermanentError("the user has no stored card", code="no_stored_card")

    async def _create(self, user: User, email: str, permit: Permit) -> Customer:
        return await self._zoho.create_customer(
            user_id=user.user_id,
            display_name=display_name(user.fields),
            email=email,
            first_name=user.fields.get("first_name") or None,
            last_name=user.fields.get("last_name") or None,
            phone=user.fields.get("phone") or None,
            permit=permit,
        )

    async def _probe(self, user: User, email: str) -> Customer | None:
        """Find what an unanswered create may have made: by our field, else by email and name."""
        ours = await self._zoho.customer_of_user(user.user_id, email=email)
        return ours or await self._adoptable(user, email)

    async def _adoptable(self, user: User, email: str) -> Customer | None:
        """A customer with the user's email and name that is not another user's."""
        name = display_name(user.fields).casefold()
        for listed in await self._zoho.customers_with_email(email):
            if listed.display_name.casefold() != name:
                continue
            customer = await self._zoho.customer(listed.customer_id)
            if self._zoho.user_of(customer) not in (None, user.user_id):
                continue
            owner = await self._users.find_by_customer(user.org, customer.customer_id)
            if owner is None or owner.user_id == user.user_id:
                return customer
        return None


def _made(customer: Customer) -> EffectResult:
    return {"customer_id": customer.customer_id}
