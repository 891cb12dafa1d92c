"""The journal with everything around it: a Zoho that is a function, permits at once, replicas.

PostgreSQL is real, and so is the time that passes on it.
"""

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from shared.crypto.envelope import UserKey, Vault
from shared.errors import OutcomeUnknown, Unavailable
from shared.observability.metrics import Metrics
from shared.zoho.call.http import Permit
from shared.zoho.effects.effects import EffectKey, Effects
from shared.zoho.quota.priority import Priority

# What a machine that stands still for a moment never uses up.
UNHURRIED_S = 30.0
TIMEOUT_S, SETTLE_S = 0.1, 0.1


class Killed(BaseException):
    """The process died here: nothing after this line ran."""


@dataclass
class Zoho:
    """A Zoho that works as slowly, and whose searches lag as long, as an operation may claim."""

    made: list[tuple[str, str, float]] = field(default_factory=list)  # key, id, visible from
    ids: Any = field(default_factory=lambda: itertools.count(4_000_000_000_000_000_001))
    seed: random.Random = field(default_factory=lambda: random.Random(7))  # noqa: S311

    def write(self, key: EffectKey, permit: Permit) -> str:
        now = time.monotonic()
        if now > permit.write_until:  # as ZohoHttp does
            raise Unavailable("too late to be written", code="too_late")
        worked = self.seed.uniform(0, TIMEOUT_S) + self.seed.uniform(0, SETTLE_S)
        made = str(next(self.ids))
        self.made.append((key.business_id, made, now + worked))
        return made

    def search(self, key: EffectKey) -> dict[str, str] | None:
        now = time.monotonic()
        for business_id, made, visible_from in self.made:
            if business_id == key.business_id and visible_from <= now:
                return {"id": made}
        return None

    def made_of(self, key: EffectKey) -> list[str]:
        return [made for business_id, made, _ in self.made if business_id == key.business_id]


class Permits:
    """Stands where ZohoHttp does: it grants at once."""

    def __init__(self) -> None:
        self.granted = 0

    @asynccontextmanager
    async def permit(
        self, product: str, *, org: str, lane: Priority, **_more: object
    ) -> AsyncIterator[Permit]:
        self.granted += 1
        yield Permit(
            id=self.granted,
            product="billing",
            org=org,
            lane=lane,
            weight=1,
            write_until=time.monotonic() + 300,
            deadline=time.monotonic() + 600,
        )


@dataclass
class World:
    """`write_s` and `settle_s` hold for what is begun after they are set."""

    pool: asyncpg.Pool
    vault: Vault
    zoho: Zoho = field(default_factory=Zoho)
    metrics: Metrics = field(default_factory=lambda: Metrics("test"))
    permits: Permits = field(default_factory=Permits)
    write_s: float = UNHURRIED_S
    settle_s: float = SETTLE_S

    def replica(self) -> Effects:
        return Effects(
            self.pool,
            self.vault,
            self.permits,  # type: ignore[arg-type]
            self.metrics,
            write_s=self.write_s,
            timeout_s=TIMEOUT_S,
        )

    async def make(
        self,
        key: EffectKey,
        act: Callable[[Permit], Awaitable[dict[str, Any]]] | None = None,
        *,
        replica: Effects | None = None,
        find: Callable[[], Awaitable[Any]] | None = None,
        money: bool = False,
        user_id: str = "u1",
    ) -> dict[str, Any]:
        async def answered(permit: Permit) -> dict[str, Any]:
            return {"id": self.zoho.write(key, permit)}

        async def search() -> dict[str, str] | None:
            return self.zoho.search(key)

        return await (replica or self.replica()).perform(
            key,
            product="billing",
            lane=Priority.COMMANDS,
            act=act or answered,
            find=find or search,
            settle_s=self.settle_s,
            money=money,
            owner=UserKey(key.org, user_id),
        )

    async def make_at_last(self, key: EffectKey, **more: Any) -> dict[str, Any]:
        """As the consumer does: back until it is settled, and not too late for fear of too early.

        Whoever may be written for long, and has died, has to be waited for: see `time_passes`.
        """
        while True:
            try:
                return await self.make(key, **more)
            except OutcomeUnknown as unknown:
                await asyncio.sleep(min(unknown.settle_s, TIMEOUT_S + SETTLE_S) + 0.01)

    async def time_passes(self) -> None:
        """So much that everybody may look, and that Zoho shows what was made before."""
        await asyncio.sleep(TIMEOUT_S + SETTLE_S)
        await self.pool.execute("UPDATE relay.effects SET look_after = clock_timestamp()")

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
