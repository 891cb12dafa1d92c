"""Create a user's customer in Billing, or adopt the one that is already there, once."""

from __future__ import annotations

from dataclasses import dataclass

from services.billing_worker.customers.user_fields import display_names
from services.billing_worker.repositories.users import User, Users
from shared.zoho.effects.effects import Effect, EffectResult
from shared.zoho.products.billing.client import ZohoBilling
from shared.zoho.products.billing.models import Customer


@dataclass(frozen=True, kw_only=True)
class CreateCustomer(Effect[ZohoBilling]):
    """The customer of one user, found by our custom field, else by email and name.

    `display_name` is one of `display_names(user.fields)`.
    """

    zoho: ZohoBilling
    users: Users
    user: User
    email: str
    display_name: str

    async def prepare(self) -> EffectResult | None:
        customer = await self._adoptable()
        return {**_result(customer), "adopted": True} if customer else None

    async def act(self, zoho: ZohoBilling) -> EffectResult:
        fields = self.user.fields
        customer = await zoho.create_customer(
            user_id=self.user.user_id,
            display_name=self.display_name,
            email=self.email,
            first_name=fields.get("first_name") or None,
            last_name=fields.get("last_name") or None,
            phone=fields.get("phone") or None,
        )
        is_marked = not zoho.marks_users or zoho.user_of(customer) == self.user.user_id
        return {**_result(customer), "marked": is_marked}

    async def find(self) -> EffectResult | None:
        customer = await self.zoho.customer_of_user(self.user.user_id, email=self.email)
        customer = customer or await self._adoptable(thorough=True)
        return _result(customer) if customer else None

    async def _adoptable(self, *, thorough: bool = False) -> Customer | None:
        """Return a customer with the user's email that is not another user's.

        Its name is the user's too. Another name is enough only where it is the single customer of
        that email, and where our custom field would show that it is being made for another user.
        """
        listed = await self.zoho.customers_with_email(self.email, thorough=thorough)
        names = {name.casefold() for name in display_names(self.user.fields, self.user.user_id)}
        for candidate in listed:
            if candidate.display_name.casefold() in names and (
                customer := await self._unless_of_another(candidate)
            ):
                return customer
        if len(listed) == 1 and self.zoho.marks_users:
            return await self._unless_of_another(listed[0])
        return None

    async def _unless_of_another(self, listed: Customer) -> Customer | None:
        customer = await self.zoho.customer(listed.customer_id)
        if self.zoho.user_of(customer) not in (None, self.user.user_id):
            return None
        if customer.status == "inactive":  # an erasure leaves it so: it is nobody's any more
            return None
        owner = await self.users.owner_of_customer(self.user.org, customer.customer_id)
        return customer if owner in (None, self.user.user_id) else None


def _result(customer: Customer) -> EffectResult:
    return {"customer_id": customer.customer_id}
