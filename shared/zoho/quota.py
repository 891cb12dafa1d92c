"""The quota ledger: who may call Zoho now, in PostgreSQL, shared by all replicas of all workers."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import asyncpg

from shared.errors import RateLimited
from shared.storage.pool import is_down, unavailable_when_down
from shared.zoho.lanes import Lane
from shared.zoho.quota_limits import Limits

_log = logging.getLogger(__name__)

# Shorter waits are spent here; for longer ones the message goes back to its queue.
PATIENCE_S = 5.0
# A ledger that does not answer must not hold up an answer of Zoho's: the deadline frees the slot.
_RELEASE_WITHIN_S = 2.0


@dataclass
class Permit:
    """A place in the quota for one request that is not written yet.

    `write_until` (`time.monotonic()`): past it the request is refused with `Unavailable`
    (code `too_late`) before a byte is written. Whoever holds the permit may bring it nearer.
    `deadline`: past it the ledger takes the call for dead, so the request must be over by then.
    `trial`: a breaker's pause is over, and this call shows whether its cause is.
    """

    id: int
    product: str
    org: str
    lane: Lane
    weight: int
    write_until: float
    deadline: float
    trial: bool = False
    spent: bool = False

    def write_within(self, seconds: float) -> None:
        """Refuse to write the request later than `seconds` from now; never extends."""
        self.write_until = min(self.write_until, time.monotonic() + seconds)


@dataclass(frozen=True)
class Told:
    """What an answer of Zoho's said about its quota.

    `limit`: the limit that refused the call (minute, day, concurrency), with the `wait_s` that
    Zoho named or its table says. `credits_*`: of the day, from headers, and when they come back.
    """

    limit: str | None = None
    wait_s: float = 0.0
    credits_limit: int | None = None
    credits_left: int | None = None
    resets_in_s: float | None = None


@dataclass(frozen=True)
class Decision:
    """One decision of the ledger, for metrics. `waited_s` since the caller asked."""

    org: str
    product: str
    lane: Lane
    granted: bool
    waited_s: float
    calls_left: int | None
    credits_left: int | None


@dataclass(frozen=True)
class _Wanted:
    """A call that wants a permit, as its caller described it."""

    org: str
    product: str
    lane: Lane
    weight: int
    heavy: bool
    deadline_s: float


class Quota:
    """Takes and gives back permits. One per process; any number of processes.

    `limits` by product. `observe` sees every decision that ended a wait. `called`: organizations
    and products that permits were asked for.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        limits: Mapping[str, Limits],
        *,
        observe: Callable[[Decision], None] = lambda _: None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._pool = pool
        self._limits = limits
        self._observe = observe
        self._patience_s = patience_s
        self.called: set[tuple[str, str]] = set()
        # One waiter a lane asks for all in this process: the others would only ask in vain.
        self._turns: defaultdict[tuple[str, str, Lane], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def take(
        self,
        org: str,
        product: str,
        lane: Lane,
        weight: int,
        deadline_s: float,
        timeout_s: float,
        *,
        heavy: bool = False,
    ) -> Permit:
        """Wait for a permit, but not long.

        The request must be over within `deadline_s`, so it must be written `timeout_s` before.
        `heavy`: it counts against the smaller limit of calls in flight too, where there is one.
        Raises:
            RateLimited: the limit named is used up for longer than we wait in place.
            Unavailable: the database is away.
        """
        began = time.monotonic()
        self.called.add((org, product))
        turn = self._turns[org, product, lane]
        try:
            await asyncio.wait_for(turn.acquire(), max(self._patience_s, 1.0))
        except TimeoutError:
            raise self._refused(product, "concurrency", self._patience_s) from None
        try:
            wanted = _Wanted(org, product, lane, weight, heavy, deadline_s)
            return await self._take(wanted, timeout_s, began)
        finally:
            turn.release()

    async def _take(self, wanted: _Wanted, timeout_s: float, began: float) -> Permit:
        org, product, lane = wanted.org, wanted.product, wanted.lane
        while True:
            # Before asking, so that ours runs out before PostgreSQL's does.
            deadline = time.monotonic() + wanted.deadline_s
            row = await self._decide(wanted)
            waited_s = time.monotonic() - began
            granted = row["permit"] is not None
            if granted or waited_s + row["wait_s"] > self._patience_s:
                self._observe(
                    Decision(
                        org,
                        product,
                        lane,
                        granted,
                        waited_s,
                        row["calls_left"],
                        row["credits_left"],
                    )
                )
                if not granted:
                    raise self._refused(product, row["used_up"], row["wait_s"])
                return Permit(
                    row["permit"],
                    product,
                    org,
                    lane,
                    wanted.weight,
                    deadline - timeout_s,
                    deadline,
                )
            # A little late and uneven, so that replicas do not ask in step.
            await asyncio.sleep(row["wait_s"] + random.uniform(0.001, 0.01))  # noqa: S311

    async def _decide(self, wanted: _Wanted) -> Any:
        limits = self._limits[wanted.product]
        with unavailable_when_down():
            return await self._pool.fetchrow(
                """
                SELECT permit, wait_s, used_up, calls_left, credits_left FROM relay.take_permit(
                    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
                """,
                wanted.org,
                wanted.product,
                wanted.lane.value,
                limits.shares[wanted.lane],
                limits.unpaced[wanted.lane],
                wanted.weight,
                wanted.heavy,
                limits.calls,
                limits.window_s,
                limits.in_flight,
                limits.heavy_in_flight,
                limits.credits,
                limits.zone,
                wanted.deadline_s,
            )

    async def release(self, permit: Permit, told: Told) -> Told:
        """The request was written: it counts for one window from now, answered or not.

        Returns what was told, corrected by what the ledger knows of earlier refusals. Never
        raises: an answer of Zoho's is worth more than our count of it.
        """
        limits = self._limits[permit.product]
        permit.spent = True
        try:
            async with asyncio.timeout(_RELEASE_WITHIN_S), self._pool.acquire() as connection:
                await connection.execute(
                    "SELECT relay.permit_answered($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                    permit.id,
                    limits.window_s,
                    permit.org,
                    permit.product,
                    told.limit is None,
                    limits.credits,
                    told.credits_limit,
                    told.credits_left,
                    told.resets_in_s,
                    limits.zone,
                )
                if told.limit is not None:
                    return await self._refuse(connection, permit, told, limits)
        except Exception as error:
            self._not_noted(error)
        return told

    async def give_back(self, permit: Permit) -> None:
        """Nothing was written: it never counted. Never raises; the deadline frees it otherwise."""
        if permit.spent:
            return
        permit.spent = True
        try:
            async with asyncio.timeout(_RELEASE_WITHIN_S):
                await self._pool.execute("SELECT relay.return_permit($1)", permit.id)
        except Exception as error:
            self._not_noted(error)

    async def _refuse(self, connection: Any, permit: Permit, told: Told, limits: Limits) -> Told:
        row = await connection.fetchrow(
            "SELECT used_up, wait_s FROM relay.quota_refused($1, $2, $3, $4, $5, $6)",
            permit.org,
            permit.product,
            told.limit,
            told.wait_s,
            limits.refusal_patience_s,
            1800.0,
        )
        return replace(told, limit=row["used_up"], wait_s=row["wait_s"])

    def _refused(self, product: str, limit: str, wait_s: float) -> RateLimited:
        return RateLimited(
            f"the {limit} limit of {product} is used up",
            retry_after_s=wait_s,
            product=product,
            limit=limit,
        )

    def _not_noted(self, error: Exception) -> None:
        if not is_down(error):
            raise error
        _log.warning("quota not noted", extra={"error": type(error).__name__})
