"""Answer what the dispatcher asks about calls to Zoho, from the ledger and the breakers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from shared.messaging.dispatch.reservations import ClosedProduct
from shared.messaging.handling.routes import MessagePriority
from shared.zoho.call.breakers import ACCOUNTS, Breakers
from shared.zoho.quota.priority import Priority

PRIORITIES: Final[Mapping[MessagePriority, Priority]] = {
    MessagePriority.PAYMENTS: Priority.URGENT,
    MessagePriority.COMMANDS: Priority.COMMANDS,
    MessagePriority.READS: Priority.READS,
    MessagePriority.BACKFILL: Priority.BACKFILL,
}


class ZohoCallBudget:
    """A `messaging.dispatch.reservations.CallBudget` over the products of one organization."""

    def __init__(self, org: str, products: Collection[str], breakers: Breakers) -> None:
        self._org = org
        self._products = products
        self._breakers = breakers

    @property
    def limits(self) -> Mapping[str, object]:
        return {}

    def closed(self) -> Collection[ClosedProduct]:
        return [
            ClosedProduct(self._org, product, int(message_priority))
            for product in self._products
            for message_priority, priority in PRIORITIES.items()
            if self._breakers.held_for(self._org, (product, ACCOUNTS), priority) is not None
        ]

    def spend(self, reservations: Mapping[str, int]) -> AbstractContextManager[object]:
        return nullcontext()

    async def give_back(self, reservations: Collection[int]) -> None:
        return
