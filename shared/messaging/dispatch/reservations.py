"""Declare what leasing asks of the quota ledger and the breakers. Services pass in who answers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, Protocol


class ClosedProduct(NamedTuple):
    """A product whose calls cannot succeed now, for messages of one priority."""

    org: str
    product: str
    priority: int


class Pause(NamedTuple):
    """Why a product is closed for messages of one priority, and for how many seconds at least."""

    closed: ClosedProduct
    cause: str
    wait_s: float


class CallBudget(Protocol):
    """The calls that messages may make. Reserving them is a part of the lease itself."""

    @property
    def limits(self) -> Mapping[str, object]:
        """By product, its limits as the ledger takes them. A product without is not reserved."""

    def closed(self) -> Collection[ClosedProduct]:
        """The products whose breaker is open: their messages are passed over."""

    def pauses(self) -> Collection[Pause]:
        """Why and how long they are closed."""

    def spend(
        self, reservations: Mapping[str, int], priority: int
    ) -> AbstractContextManager[object]:
        """Calls made inside take their permits out of these reservations, by product.

        All of them are made at this priority, that of the message's line.
        """

    async def give_back(self, reservations: Collection[int]) -> None:
        """Return what is left of these reservations."""


class NoCalls:
    """The budget of a service that calls nobody."""

    @property
    def limits(self) -> Mapping[str, object]:
        return {}

    def closed(self) -> Collection[ClosedProduct]:
        return ()

    def pauses(self) -> Collection[Pause]:
        return ()

    def spend(
        self, reservations: Mapping[str, int], priority: int
    ) -> AbstractContextManager[object]:
        return nullcontext()

    async def give_back(self, reservations: Collection[int]) -> None:
        return
