"""Random lives of one effect: its deliveries crash, lose answers, lapse and come again.

Effects and PostgreSQL are real. Zoho is a function, and the clock is the test's, so that minutes
pass within a test that takes none. Deliveries stop
at gates, wherever something can happen to them, and a seeded scheduler says who goes on, who dies
and how much time passes meanwhile.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg

from shared.crypto.envelope import KeyOwner, UserKey, Vault
from shared.errors import OutcomeUnknown, PermanentError, RateLimited, Unavailable, ZohoRejected
from shared.observability.metrics import Metrics
from shared.zoho.call.http import Operation, Permit
from shared.zoho.effects.effects import Absence, EffectKey, Effects
from shared.zoho.quota.call import Call
from tests.shared.zoho.effects_world import FunctionEffect
from tests.shared.zoho.moved_clock import MovedClock, MovedPermit

Json = dict[str, Any]

WRITE_S, TIMEOUT_S, SEARCH_LAG_S = 5.0, 20.0, 10.0

FATES: Final = (
    "answered",
    "answered",
    "declined",
    "throttled",
    "lost, done",
    "lost, declined",
    "lost, not done",
    "unreadable",
)
BEFORE_INTENT, BEFORE_REQUEST, BEFORE_ANSWER, BEFORE_STORED, BEFORE_FOUND, BEFORE_SETTLED = (
    GATES
) = (
    "before the intent",
    "before the request",
    "before the answer",
    "before the result is stored",
    "before the search has its result",
    "before the message is settled",
)


@dataclass
class Zoho:
    """Works as long, and lets its searches lag as long, as an operation may claim."""

    clock: MovedClock
    chance: random.Random
    ids: Any = field(default_factory=lambda: itertools.count(4_000_000_000_000_000_001))
    made: list[tuple[str, float]] = field(default_factory=list)  # id, visible from
    declined: list[float] = field(default_factory=list)

    def make(self, permit: Permit) -> str:
        self._must_be_in_time(permit)
        made = str(next(self.ids))
        self.made.append((made, self._visible_from()))
        return made

    def decline(self, permit: Permit) -> None:
        self._must_be_in_time(permit)
        self.declined.append(self._visible_from())

    def shows(self) -> Json | None:
        shown = [made for made, visible_from in self.made if visible_from <= self.clock.seconds]
        return {"id": shown[0]} if shown else None

    def shows_decline(self) -> bool:
        return any(visible_from <= self.clock.seconds for visible_from in self.declined)

    def _must_be_in_time(self, permit: Permit) -> None:
        if self.clock.seconds > permit.write_until:  # as ZohoHttp does
            raise Unavailable("too late to be written", code="too_late")

    def _visible_from(self) -> float:
        share = self.chance.choice((0.0, self.chance.uniform(0, 1), 1.0))
        return self.clock.seconds + share * (TIMEOUT_S + SEARCH_LAG_S)


class Delivery:
    """One delivery of the message, in a process of its own, which stops at every gate."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._news = asyncio.Event()
        self._order: asyncio.Future[str] | None = None
        self.at: str | None = None
        self.outcome: object = None
        self._task = asyncio.create_task(self._run())

    @property
    def is_over(self) -> bool:
        return self._task.done()

    async def stops(self) -> None:
        """Return once it stands at a gate, or is over."""
        over = asyncio.ensure_future(self._news.wait())
        await asyncio.wait((self._task, over), return_when=asyncio.FIRST_COMPLETED)
        over.cancel()

    def go(self, order: str = "answered") -> None:
        if self._order is not None and not self._order.done():
            self._news.clear()
            self.at = None
            self._order.set_result(order)

    async def kill(self) -> None:
        """Nothing after this runs, wherever it is, in mid-statement too."""
        self._task.cancel()
        await asyncio.wait((self._task,))

    async def _gate(self, where: str) -> str:
        self._order = asyncio.get_running_loop().create_future()
        self.at = where
        self._news.set()
        return await self._order

    async def _run(self) -> None:
        try:
            result = await self._perform()
            await self._gate(BEFORE_SETTLED)
            self.outcome = result["id"]
        except (OutcomeUnknown, PermanentError, RateLimited, Unavailable, KeyError) as error:
            self.outcome = error

    async def _perform(self) -> Json:
        life = self._life
        effects = Effects(
            life.pool,
            self,  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            life.metrics,
            write_s=WRITE_S,
            timeout_s=TIMEOUT_S,
            clock=life.clock,
        )
        return await effects.perform(
            Operation(
                "billing",
                life.key.operation,
                "POST",
                search_lag_s=SEARCH_LAG_S,
                moves_money=life.money,
            ),
            life.key.business_id,
            UserKey("default", "u1"),
            FunctionEffect(self._act, self._find),
        )

    async def _act(self, permit: Permit) -> Json:
        zoho = self._life.zoho
        fate = await self._gate(BEFORE_REQUEST)
        if fate == "throttled":
            raise RateLimited("no", retry_after_s=0, product="billing", limit="minute")
        if fate == "lost, not done":
            raise OutcomeUnknown("no answer", search_lag_s=0)
        if fate.endswith("declined"):
            zoho.decline(permit)
            await self._gate(BEFORE_ANSWER)
            if fate == "lost, declined":
                raise OutcomeUnknown("no answer", search_lag_s=0)
            raise ZohoRejected("no", product="billing", operation="collect", status=400)
        made = zoho.make(permit)
        await self._gate(BEFORE_ANSWER)
        if fate == "lost, done":
            raise OutcomeUnknown("no answer", search_lag_s=0)
        return {"unreadable": {}}["id"] if fate == "unreadable" else {"id": made}

    async def _find(self) -> Json | Absence | None:
        zoho = self._life.zoho
        found: Json | Absence | None = zoho.shows()
        if found is None and zoho.shows_decline():
            found = Absence.PROVEN
        await self._gate(BEFORE_FOUND)
        return found

    # -- what Effects uses of ZohoHttp and Vault ---------------------------------------------------

    @asynccontextmanager
    async def permit(self, call: Call) -> AsyncIterator[Permit]:
        await self._gate(BEFORE_INTENT)
        permit = MovedPermit(1, call, math.inf, math.inf)
        permit.clock = self._life.clock
        yield permit

    async def seal_bytes(self, owner: KeyOwner, plaintext: bytes, context: str) -> bytes:
        await self._gate(BEFORE_STORED)
        return await self._life.vault.seal_bytes(owner, plaintext, context)

    async def open_bytes(self, blob: bytes, context: str) -> bytes:
        return await self._life.vault.open_bytes(blob, context)


@dataclass
class Life:
    """One effect, from its first delivery until it is settled. `story` says what befell it."""

    pool: asyncpg.Pool
    vault: Vault
    metrics: Metrics
    seed: int
    money: bool
    story: list[str] = field(default_factory=list)
    befell: Counter[str] = field(default_factory=Counter)
    outcomes: list[object] = field(default_factory=list)

    def __post_init__(self) -> None:
        kind = "collect_charge" if self.money else "create_customer"
        self.key = EffectKey("default", kind, f"seed-{self.seed}")
        self.chance = random.Random(f"{self.money} {self.seed}")  # noqa: S311
        self.clock = MovedClock()
        self.zoho = Zoho(self.clock, self.chance)
        self._deliveries: list[Delivery] = []

    async def live(self) -> None:
        await self._deliver()
        steps = (self._go, self._deliver, self._wait, self._rush, self._kill)
        for _ in range(self.chance.randint(4, 32)):
            (step,) = self.chance.choices(steps, weights=(8, 4, 3, 1, 1))
            await step()
            self._bury()
        await self._be_settled()

    @property
    def ended_unknown(self) -> bool:
        return isinstance(self.outcomes[-1], PermanentError)

    async def _deliver(self) -> None:
        """The first one, a lapsed lease, or a redelivery: the others know nothing of it."""
        if len(self._deliveries) < 3:
            self._note("delivered" if not self._deliveries else "delivered to another meanwhile")
            self._deliveries.append(Delivery(self))
            await self._deliveries[-1].stops()

    async def _go(self) -> None:
        if self._deliveries:
            delivery = self.chance.choice(self._deliveries)
            self._order(delivery)
            await delivery.stops()

    async def _rush(self) -> None:
        """All at once: their statements meet in PostgreSQL."""
        if len(self._deliveries) > 1:
            self._note("together")
            for delivery in self._deliveries:
                self._order(delivery)
            for delivery in self._deliveries:
                await delivery.stops()

    async def _kill(self) -> None:
        if not self._deliveries:
            return
        delivery = self._deliveries.pop(self.chance.randrange(len(self._deliveries)))
        where = delivery.at
        if self.chance.random() < 0.3:
            self._order(delivery)
            for _ in range(self.chance.randint(1, 6)):
                await asyncio.sleep(0)
            where = delivery.at or "in the midst of a statement"
        self._note(f"killed {where}")
        await delivery.kill()

    async def _wait(self, seconds: float | None = None) -> None:
        """Time passes: a little, to just before what somebody waits for, or well past it."""
        if seconds is None:
            edge = self.chance.choice((WRITE_S, TIMEOUT_S, SEARCH_LAG_S, TIMEOUT_S + SEARCH_LAG_S))
            whole = WRITE_S + TIMEOUT_S + SEARCH_LAG_S
            seconds = self.chance.choice((edge * 0.99, edge, whole * 0.99, whole, whole))
        self._note(f"{seconds:.0f} s pass")
        self.clock.pass_by(seconds=seconds)

    async def _be_settled(self) -> None:
        """Peace: all that still runs goes on, and the message comes until it is settled."""
        self._note("peace")
        for _ in range(200):
            if not self._deliveries:
                last = self.outcomes[-1] if self.outcomes else None
                if _settles(last):
                    return
                if isinstance(last, OutcomeUnknown):
                    await self._wait(last.search_lag_s)
                await self._deliver()
            delivery = self.chance.choice(self._deliveries)
            delivery.go()
            await delivery.stops()
            self._bury()
        raise AssertionError(f"never settled: {self.story}")

    def _order(self, delivery: Delivery) -> None:
        order = self.chance.choice(FATES)
        if delivery.at == BEFORE_REQUEST:
            self._note(order)
        delivery.go(order)

    def _bury(self) -> None:
        for delivery in [delivery for delivery in self._deliveries if delivery.is_over]:
            self._deliveries.remove(delivery)
            self.outcomes.append(delivery.outcome)
            self._note(f"ended with {type(delivery.outcome).__name__}")

    def _note(self, what: str) -> None:
        self.story.append(what)
        self.befell[what] += 1


def _settles(outcome: object) -> bool:
    """Ask again for what Zoho refused, as an operator replays a dead letter."""
    return isinstance(outcome, str | PermanentError) and not isinstance(outcome, ZohoRejected)
