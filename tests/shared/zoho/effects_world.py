"""Surround the journal with what it needs: a Zoho that is a function, permits at once, replicas.

PostgreSQL is real. Time passes on a clock that the test moves.
"""

import asyncio
import itertools
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from shared.crypto.envelope import UserKey, Vault
from shared.errors import OutcomeUnknown, Unavailable
from shared.observability.metrics import Metrics
from shared.zoho.call.http import Operation, Permit
from shared.zoho.effects.effects import Effect, EffectKey, Effects
from shared.zoho.quota.call import Call
from shared.zoho.quota.priority import Priority
from tests.shared.zoho.moved_clock import MovedClock, MovedPermit

WRITE_S, TIMEOUT_S, SEARCH_LAG_S = 5.0, 20.0, 15.0


class Killed(BaseException):
    """The process died here: nothing after this line ran."""


@dataclass
class Zoho:
    """A Zoho that works as slowly, and whose searches lag as long, as an operation may claim."""

    clock: MovedClock
    made: list[tuple[str, str, float]] = field(default_factory=list)  # key, id, visible from
    ids: Any = field(default_factory=lambda: itertools.count(4_000_000_000_000_000_001))
    seed: random.Random = field(default_factory=lambda: random.Random(7))  # noqa: S311

    def write(self, key: EffectKey, permit: Permit) -> str:
        if self.clock.seconds > permit.write_until:  # as ZohoHttp does
            raise Unavailable("too late to be written", code="too_late")
        worked = self.seed.uniform(0, TIMEOUT_S) + self.seed.uniform(0, SEARCH_LAG_S)
        made = str(next(self.ids))
        self.made.append((key.business_id, made, self.clock.seconds + worked))
        return made

    def search(self, key: EffectKey) -> dict[str, str] | None:
        for business_id, made, visible_from in self.made:
            if business_id == key.business_id and visible_from <= self.clock.seconds:
                return {"id": made}
        return None

    def made_of(self, key: EffectKey) -> list[str]:
        return [made for business_id, made, _ in self.made if business_id == key.business_id]


class Permits:
    """Stands where ZohoHttp does: it grants at once."""

    def __init__(self, clock: MovedClock) -> None:
        self._clock = clock
        self.granted = 0
        self.in_use = 0

    @asynccontextmanager
    async def permit(self, call: Call) -> AsyncIterator[Permit]:
        self.granted += 1
        permit = MovedPermit(self.granted, call, math.inf, math.inf)
        permit.clock = self._clock
        self.in_use += 1
        try:
            yield permit
        finally:
            self.in_use -= 1


@dataclass
class FunctionClient:
    """Stand for a product's client, with what the journal uses of it."""

    priority: Priority = Priority.COMMANDS
    permit: Permit | None = None

    def holding(self, permit: Permit) -> "FunctionClient":
        return FunctionClient(self.priority, permit)


class FunctionEffect(Effect[Any]):
    """An effect made of functions. `act` is given the permit."""

    def __init__(
        self,
        act: Callable[[Permit], Awaitable[Any]],
        find: Callable[[], Awaitable[Any]],
        prepare: Callable[[], Awaitable[dict[str, Any] | None]] | None = None,
    ) -> None:
        self.zoho = FunctionClient()
        self._act = act
        self._find = find
        self._prepare = prepare

    async def prepare(self) -> dict[str, Any] | None:
        return await self._prepare() if self._prepare else None

    async def act(self, zoho: Any) -> dict[str, Any]:
        result: dict[str, Any] = await self._act(zoho.permit)
        return result

    async def find(self) -> Any:
        return await self._find()


def operation(name: str, *, moves_money: bool = False) -> Operation:
    return Operation("billing", name, "POST", search_lag_s=SEARCH_LAG_S, moves_money=moves_money)


@dataclass
class World:
    """Everything around the journal."""

    pool: asyncpg.Pool
    vault: Vault
    metrics: Metrics = field(default_factory=lambda: Metrics("test"))
    clock: MovedClock = field(default_factory=MovedClock)

    def __post_init__(self) -> None:
        self.zoho = Zoho(self.clock)
        self.permits = Permits(self.clock)

    def replica(self) -> Effects:
        return Effects(
            self.pool,
            self.vault,
            self.permits,  # type: ignore[arg-type]
            self.metrics,
            write_s=WRITE_S,
            timeout_s=TIMEOUT_S,
            clock=self.clock,
        )

    async def make(
        self,
        key: EffectKey,
        act: Callable[[Permit], Awaitable[dict[str, Any]]] | None = None,
        *,
        replica: Effects | None = None,
        find: Callable[[], Awaitable[Any]] | None = None,
        prepare: Callable[[], Awaitable[dict[str, Any] | None]] | None = None,
        money: bool = False,
        user_id: str = "u1",
    ) -> dict[str, Any]:
        async def answered(permit: Permit) -> dict[str, Any]:
            return {"id": self.zoho.write(key, permit)}

        async def search() -> dict[str, str] | None:
            return self.zoho.search(key)

        return await (replica or self.replica()).perform(
            operation(key.operation, moves_money=money),
            key.business_id,
            UserKey(key.org, user_id),
            FunctionEffect(act or answered, find or search, prepare),
        )

    async def make_at_last(self, key: EffectKey, **more: Any) -> dict[str, Any]:
        """As the consumer does: come back until it is settled.

        Time passes while nobody is between intent and result, so no request comes too late.
        """
        while True:
            try:
                return await self.make(key, **more)
            except OutcomeUnknown as unknown:
                if self.permits.in_use:
                    await asyncio.sleep(0)
                else:
                    self.clock.pass_by(seconds=unknown.search_lag_s)

    def time_passes(self) -> None:
        """So much that everybody may look, and that Zoho shows what was made before."""
        self.clock.pass_by(seconds=WRITE_S + TIMEOUT_S + SEARCH_LAG_S)

    def reconciled(self, found: str) -> float:
        return (
            self.metrics.registry.get_sample_value(
                "effects_reconciled_total",
                {"org": "default", "operation": "create_customer", "found": found},
            )
            or 0.0
        )


def key_of(business_id: str = "u1") -> EffectKey:
    return EffectKey("default", "create_customer", business_id)
