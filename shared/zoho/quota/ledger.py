"""Call the quota ledger's functions: each decision is one of them, and one round trip.

`at` is the moment that counts. None: PostgreSQL's own clock.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from shared.zoho import waits
from shared.zoho.quota.call import Call
from shared.zoho.quota.limits import QuotaLimits
from shared.zoho.quota.priority import Priority

# A pool, or one of its connections.
On = Any


@dataclass(frozen=True)
class QuotaFeedback:
    """The quota as one answer of Zoho's described it.

    `limit`: the limit that refused the call (minute, day, concurrency), with the `wait_s` that
    Zoho named or its table says. `credits_*`: of the day, from headers, and when they come back.
    """

    limit: str | None = None
    wait_s: float = 0.0
    credits_limit: int | None = None
    credits_left: int | None = None
    resets_in_s: float | None = None


async def decide(
    on: On, call: Call, limits: QuotaLimits, deadline_s: float, at: datetime | None = None
) -> Any:
    """Return a row in which `permit` is set, or `used_up` and `wait_s`.

    `deadline_s`: from now until the ledger takes the call for dead.
    """
    return await on.fetchrow(
        """
        SELECT permit, wait_s, used_up, calls_left, credits_left FROM relay.take_permit(
            $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
        """,
        call.org,
        call.product,
        call.priority.value,
        limits.shares[call.priority],
        limits.unpaced[call.priority],
        call.weight,
        call.heavy,
        limits.calls,
        limits.window_s,
        limits.in_flight,
        limits.heavy_in_flight,
        limits.credits,
        limits.zone,
        deadline_s,
        at,
    )


async def note_answer(
    on: On,
    permit: int,
    call: Call,
    feedback: QuotaFeedback,
    limits: QuotaLimits,
    at: datetime | None = None,
) -> None:
    await on.execute(
        "SELECT relay.permit_answered($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        permit,
        limits.window_s,
        call.org,
        call.product,
        feedback.limit is None,
        limits.credits,
        feedback.credits_limit,
        feedback.credits_left,
        feedback.resets_in_s,
        limits.zone,
        at,
    )


async def note_refusal(
    on: On, call: Call, feedback: QuotaFeedback, limits: QuotaLimits, at: datetime | None = None
) -> Any:
    """Return `used_up` and `wait_s`, corrected by what is known of earlier refusals."""
    return await on.fetchrow(
        "SELECT used_up, wait_s FROM relay.quota_refused($1, $2, $3, $4, $5, $6, $7)",
        call.org,
        call.product,
        feedback.limit,
        feedback.wait_s,
        limits.day_limit_suspected_after_s,
        waits.AFTER_SUSPECTED_DAY_LIMIT_S,
        at,
    )


async def note_nothing_written(on: On, permit: int) -> None:
    await on.execute("SELECT relay.return_permit($1)", permit)


async def warm_up(pool: asyncpg.Pool, connections: int, product: str, limits: QuotaLimits) -> None:
    """Open so many connections and let each rehearse a decision. Nothing is granted.

    Measured on two cores: a new connection takes 15 to 50 ms, its first decision 8 (PostgreSQL
    compiles the functions), later ones less than one.
    """
    # Of nobody, so that no lock is held that a call waits for.
    call = Call("", product, "", Priority.URGENT)
    async with AsyncExitStack() as stack:
        count = min(connections, pool.get_max_size())
        opened = [await stack.enter_async_context(pool.acquire()) for _ in range(count)]
        for connection in opened:
            rehearsal = connection.transaction()
            await rehearsal.start()
            try:
                row = await decide(connection, call, limits, 1.0)
                if row["permit"] is not None:
                    await note_answer(connection, row["permit"], call, QuotaFeedback(), limits)
            finally:
                await rehearsal.rollback()
