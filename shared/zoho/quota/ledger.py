"""Call the quota ledger's functions: each decision is one of them, and one round trip.

`at` is the moment that counts. None: PostgreSQL's own clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

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


async def rehearse(on: On, product: str, limits: QuotaLimits) -> None:
    """Decide about a call of nobody, in a transaction that the caller undoes."""
    call = Call("", product, "", Priority.URGENT)
    row = await decide(on, call, limits, 1.0)
    if row["permit"] is not None:
        await note_answer(on, row["permit"], call, QuotaFeedback(), limits)
