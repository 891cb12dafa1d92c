"""Erase a user's customer in Billing: cancel what lives, empty its fields, mark it inactive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from services.billing_worker.customers.create_customer import CreateCustomer
from services.billing_worker.customers.user_fields import display_name
from services.billing_worker.repositories.invoices import Invoices
from services.billing_worker.repositories.payments import Payments
from services.billing_worker.repositories.users import User, Users
from shared.contracts.webhooks import Product
from shared.crypto.envelope import UserKey
from shared.erasing.outcome import PartOutcome
from shared.erasing.placeholder import Placeholders
from shared.errors import ZohoRejected
from shared.zoho.effects.effects import EffectResult, Effects
from shared.zoho.products.billing.client import CREATE_CUSTOMER, ZohoBilling

LAW: Final = "accounting law: invoices and payments are kept as they were issued"
_EMPTIED: Final = (
    "an inactive record, empty but for what the API cannot change"
    " (website, department, designation, notes) and its contact persons"
)
_NEVER_LIVED: Final = "creation_failed"


@dataclass(frozen=True, kw_only=True)
class BillingErasure:
    """Billing's part. An invoice that was issued keeps the name that stands on it."""

    zoho: ZohoBilling
    effects: Effects
    users: Users
    invoices: Invoices
    payments: Payments
    placeholders: Placeholders
    product: Product = "billing"

    async def erase(self, user: UserKey, outcome: PartOutcome) -> None:
        await outcome.remember({"customer": await self._customers(user)})
        for customer_id in outcome.ids("customer"):
            await self._cancel(customer_id, outcome)
            await self._delete_cards(customer_id, outcome)
            await self._empty(user, customer_id, outcome)
        await self._name_kept(user, outcome)

    async def _customers(self, user: UserKey) -> list[str]:
        """The user's customers: the one that is stored, and what an unanswered create has made."""
        stored = await self.users.get(user.org, user.user_id)
        made = [
            each
            for each in await self.effects.made_for(user, self.product)
            if each.operation == CREATE_CUSTOMER.name
        ]
        results: list[EffectResult] = [each.result for each in made if each.result is not None]
        if stored is not None and len(results) < len(made):
            found = await self._unanswered(stored)
            results += [found] if found is not None else []
        ids = [str(result["customer_id"]) for result in results]
        return ids if stored is None or stored.customer_id is None else [stored.customer_id, *ids]

    async def _unanswered(self, stored: User) -> EffectResult | None:
        if stored.email is None:
            return None
        effect = CreateCustomer(
            zoho=self.zoho,
            users=self.users,
            user=stored,
            email=stored.email,
            display_name=display_name(stored.fields),
        )
        return await effect.find()

    async def _cancel(self, customer_id: str, outcome: PartOutcome) -> None:
        """Cancel what lives. It comes first: whatever is refused later, nobody pays on."""
        live = f"live subscription of {customer_id}"
        subscriptions = await self.zoho.subscriptions_of(customer_id)
        await outcome.remember(
            {
                live: [
                    each.subscription_id
                    for each in subscriptions
                    if not each.ended and each.status != _NEVER_LIVED
                ]
            }
        )
        for zoho_id in outcome.ids(live):
            with outcome.erasing("live subscription"):
                if not (await self.zoho.subscription(zoho_id)).ended:
                    await self.zoho.cancel_subscription(zoho_id, at_term_end=False)

    async def _delete_cards(self, customer_id: str, outcome: PartOutcome) -> None:
        cards = f"card of {customer_id}"
        try:
            listed = await self.zoho.cards(customer_id)
        except ZohoRejected as error:
            outcome.refuse("list of cards", error.zoho_code or str(error.status))
            listed = []
        await outcome.remember({cards: [card.card_id for card in listed]})
        for card_id in outcome.ids(cards):
            with outcome.erasing("card"):
                await self.zoho.delete_card(customer_id, card_id)

    async def _empty(self, user: UserKey, customer_id: str, outcome: PartOutcome) -> None:
        placeholder = self.placeholders.of(user)
        with outcome.erasing("customer"):
            await self.zoho.anonymize_customer(
                customer_id, display_name=placeholder.name, email=placeholder.email
            )
        with outcome.erasing("active customer"):
            await self.zoho.mark_customer_inactive(customer_id)

    async def _name_kept(self, user: UserKey, outcome: PartOutcome) -> None:
        outcome.keep("customer", _EMPTIED, count=len(outcome.ids("customer")))
        invoices = await self.invoices.ids_of_user(user.org, user.user_id)
        outcome.keep("invoice", LAW, ids=invoices)
        payments = await self.payments.ids_of_user(user.org, user.user_id)
        outcome.keep("payment", LAW, ids=payments)
        unknown = [
            each.business_id
            for each in await self.effects.made_for(user, self.product)
            if each.operation != CREATE_CUSTOMER.name and each.result is None
        ]
        outcome.keep("write without an answer", "nobody knows whether Zoho did it", ids=unknown)
