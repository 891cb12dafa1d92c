"""Create a user's customer in Billing, or adopt the one that is already there, once."""

from __future__ import annotations

from dataclasses import dataclass

from services.billing_worker.customers.user_fields import display_name
from services.billing_worker.repositories.users import User, Users
from shared.zoho.effects.effects import Effect, EffectResult
from shared.zoho.products.billing.client import ZohoBilling
from shared.zoho.products.billing.models import Customer


@dataclass(frozen=True, kw_only=True)
class CreateCustomer(Effect[ZohoBilling]):
    """The customer of one user, found by our custom field, else by email and name."""

    zoho: ZohoBilling
    users: Users
    user: User
    email: str

    async def prepare(self) -> EffectResult | None:
        customer = await self._adoptable()
        return {**_result(customer), "adopted": True} if customer else None

    async def act(self, zoho: ZohoBilling) -> EffectResult:
        fields = self.user.fields
        customer = await zoho.create_customer(
            user_id=self.user.user_id,
            display_name=display_name(fields),
            email=self.email,
            first_name=fields.get("first_name") or None,
            last_name=fields.get("last_name") or None,
            phone=fields.get("phone") or None,
        )
        return _result(customer)

    async def find(self) -> EffectResult | None:
        customer = await self.zoho.customer_of_user(self.user.user_id, email=self.email)
        customer = customer or await self._adoptable()
        return _result(customer) if customer else None

    async def _adoptable(self) -> Customer | None:
        """Return a customer with the user's email and name that is not another user's."""
        name = display_name(self.user.fields).casefold()
        for listed in await self.zoho.customers_with_email(self.email):
            if listed.display_name.casefold() != name:
                continue
            customer = await self.zoho.customer(listed.customer_id)
            if self.zoho.user_of(customer) not in (None, self.user.user_id):
                continue
            owner = await self.users.find_by_customer(self.user.org, customer.customer_id)
            if owner is None or owner.user_id == self.user.user_id:
                return customer
        return None


def _result(customer: Customer) -> EffectResult:
    return {"customer_id": customer.customer_id}
