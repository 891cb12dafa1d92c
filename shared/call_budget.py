"""Answer what the dispatcher asks about calls to Zoho, from the ledger and the breakers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from typing import Final

from shared.messaging.batcher import Batcher
from shared.messaging.dispatch.reservations import ClosedProduct, Pause
from shared.messaging.handling.routes import MessagePriority
from shared.zoho.call.breakers import ACCOUNTS, Breakers
from shared.zoho.quota.priority import Priority
from shared.zoho.quota.reservations import Reservations, spending

PRIORITIES: Final[Mapping[MessagePriority, Priority]] = {
    MessagePriority.PAYMENTS: Priority.URGENT,
    MessagePriority.COMMANDS: Priority.COMMANDS,
    MessagePriority.READS: Priority.READS,
    MessagePriority.BACKFILL: Priority.BACKFILL,
}


class ZohoCallBudget:
    """A `messaging.dispatch.reservations.CallBudget` over the products of one organization."""

    def __init__(
        self, org: str, products: Collection[str], breakers: Breakers, reservations: Reservations
    ) -> None:
        self._org = org
        self._products = products
        self._breakers = breakers
        documents = reservations.documents()
        self._limits = {product: documents[product] for product in products}
        self._given_back: Batcher[int, None] = Batcher("give calls back", self._give_back)
        self._reservations = reservations

    @property
    def limits(self) -> Mapping[str, object]:
        return self._limits

    def closed(self) -> Collection[ClosedProduct]:
        return [pause.closed for pause in self.pauses()]

    def pauses(self) -> Collection[Pause]:
        return [
            Pause(ClosedProduct(self._org, product, int(message_priority)), *held)
            for product in self._products
            for message_priority, priority in PRIORITIES.items()
            if (held := self._breakers.held_by(self._org, (product, ACCOUNTS), priority))
        ]

    def spend(
        self, reservations: Mapping[str, int], priority: int
    ) -> AbstractContextManager[object]:
        return spending(reservations, PRIORITIES[MessagePriority(priority)])

    async def give_back(self, reservations: Collection[int]) -> None:
        for given_back in [self._given_back.run(reservation) for reservation in reservations]:
            await given_back

    async def _give_back(self, group: list[int]) -> list[None]:
        await self._reservations.give_back(group)
        return [None] * len(group)
