"""Reserve calls for a message before its work starts, and know what its calls may take."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import asyncpg

from shared.storage.clock import DatabaseClock, database_clock
from shared.storage.pool import PooledConnection, unavailable_when_down
from shared.zoho.quota.limits import QuotaLimits
from shared.zoho.quota.priority import Priority

_NONE: Final[Mapping[str, int]] = MappingProxyType({})
_RESERVED: Final[ContextVar[Mapping[str, int]]] = ContextVar("reserved calls", default=_NONE)
_PRIORITY: Final[ContextVar[Priority | None]] = ContextVar("priority of calls", default=None)


@contextmanager
def spending(reservations: Mapping[str, int], priority: Priority | None = None) -> Iterator[None]:
    """Take the permits of the calls made inside out of these reservations, by product.

    All of these calls have `priority`, the reserved ones and the others, whatever their clients
    have. None: each has that of its client.
    """
    reserved = _RESERVED.set(reservations)
    urgency = _PRIORITY.set(priority)
    try:
        yield
    finally:
        _PRIORITY.reset(urgency)
        _RESERVED.reset(reserved)


def priority_of_calls(otherwise: Priority) -> Priority:
    """The priority at which calls are made here. `otherwise`: outside of a leased message."""
    return _PRIORITY.get() or otherwise


def reservation_of(product: str) -> int | None:
    """The reservation that a call of this product is made out of, if there is one."""
    return _RESERVED.get().get(product)


class ReservedPermit(NamedTuple):
    """The decision about one reserved call.

    `permit` is set, or `used_up` names the limit, and `wait_s` when to come back. `used_up` is
    `reservation` when nothing is left of it: then the call takes a permit like any other.
    """

    permit: int | None
    used_up: str | None
    wait_s: float


def limits_document(limits: QuotaLimits) -> dict[str, Any]:
    """A product's limits as `relay.reserve_calls` takes them."""
    return {
        "lanes": [priority.value for priority in Priority],
        "shares": [limits.shares[priority] for priority in Priority],
        "unpaced": [limits.unpaced[priority] for priority in Priority],
        "calls": limits.calls,
        "window_s": limits.window_s,
        "credits": limits.credits,
        "zone": limits.zone,
    }


class Reservations:
    """Reservations of the quota ledger. `limits` by product.

    They are made by the lease of a message (`lease_messages` and `accept_messages` call
    `relay.reserve_calls`). They count in the minute and in the day until their deadline, and never
    in flight.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        limits: Mapping[str, QuotaLimits],
        *,
        clock: DatabaseClock = database_clock,
    ) -> None:
        self._pool = pool
        self._limits = limits
        self._clock = clock

    def documents(self) -> dict[str, Any]:
        """The limits of all products, for a lease."""
        return {product: limits_document(limits) for product, limits in self._limits.items()}

    async def take(
        self,
        reservation: int,
        product: str,
        priority: Priority,
        *,
        weight: int,
        heavy: bool,
        deadline_s: float,
        on: PooledConnection | None = None,
    ) -> ReservedPermit:
        """Turn one reserved call into a permit, if no limit of calls in flight forbids it now.

        `on`: the connection to ask on, any of the pool's when it is None. Raises Unavailable.
        """
        limits = self._limits[product]
        with unavailable_when_down():
            [row] = await (on or self._pool).fetch(
                """
                SELECT permit, used_up, wait_s
                FROM relay.take_reserved_permit($1, $2, $3, $4, $5, $6, $7, $8, $9)
                """,
                reservation,
                limits.shares[priority],
                weight,
                heavy,
                limits.window_s,
                limits.in_flight,
                limits.heavy_in_flight,
                deadline_s,
                self._clock(),
            )
        return ReservedPermit(row["permit"], row["used_up"], row["wait_s"] or 0.0)

    async def give_back(
        self, reservations: Collection[int], *, on: PooledConnection | None = None
    ) -> None:
        """Return what is left of them. Their deadline does the same later. Raises Unavailable."""
        with unavailable_when_down():
            await (on or self._pool).execute(
                "SELECT relay.end_reservations($1, $2)", [*reservations], self._clock()
            )

    async def rehearse(self, connection: PooledConnection, product: str) -> None:
        """Reserve, take and give back a call of nobody, in a transaction that the caller undoes."""
        reservation = await connection.fetchval(
            "SELECT reservation FROM relay.reserve_calls('', $1, '{0}', '{2}', 1.0, $2)",
            product,
            limits_document(self._limits[product]),
        )
        if reservation is not None:
            await self.take(
                reservation,
                product,
                Priority.URGENT,
                weight=1,
                heavy=False,
                deadline_s=1.0,
                on=connection,
            )
            await self.give_back([reservation], on=connection)
