"""Calls reserved for a message count from then on, and nothing else may use them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import asyncpg

from shared.zoho.quota.limits import QuotaLimits
from shared.zoho.quota.priority import Priority
from shared.zoho.quota.quota import Quota, QuotaFeedback
from shared.zoho.quota.reservations import Reservations, ReservedPermit, limits_document
from tests.shared.zoho.moved_clock import MovedClock
from tests.shared.zoho.permits_taken import OPEN, granted_or_not, refused, take

URGENT, COMMANDS, READS = 0, 1, 2
HALF = {**OPEN.shares, Priority.COMMANDS: 0.5}


class Ledger:
    """The ledger of one product, whose clock the test moves."""

    def __init__(self, pool: asyncpg.Pool, limits: QuotaLimits, clock: MovedClock) -> None:
        self.pool = pool
        self.limits = limits
        self.clock = clock
        self.quota = Quota(
            pool, {"billing": limits}, longest_wait_s=0.0, note_within_s=60.0, clock=clock
        )
        self.reservations = Reservations(pool, {"billing": limits}, clock=clock)

    async def reserve(
        self, *calls: int, priorities: Sequence[int] | None = None, deadline_s: float = 100.0
    ) -> list[asyncpg.Record]:
        rows = await self.pool.fetch(
            "SELECT * FROM relay.reserve_calls('default', 'billing', $1, $2, $3, $4, $5)",
            priorities or [COMMANDS] * len(calls),
            calls,
            deadline_s,
            limits_document(self.limits),
            self.clock(),
        )
        return sorted(rows, key=lambda row: row["item"])

    async def permit(self, reservation: int, *, weight: int = 1) -> ReservedPermit:
        return await self.reservations.take(
            reservation, "billing", Priority.COMMANDS, weight=weight, heavy=False, deadline_s=30.0
        )

    async def credits(self) -> int:
        """Of the day, spent and reserved."""
        counted: int = await self.pool.fetchval(
            "SELECT spent FROM relay.quota_credits('default', 'billing', $1, 'UTC', $2)",
            self.limits.credits,
            self.clock(),
        )
        return counted


def granted(rows: Sequence[asyncpg.Record]) -> list[bool]:
    return [row["reservation"] is not None for row in rows]


def seconds_to(clock: MovedClock, moment: datetime) -> float:
    return (moment - clock()).total_seconds()


async def test_as_many_messages_are_granted_as_the_minute_has_calls_for(
    ledger_pool: asyncpg.Pool, clock: MovedClock
) -> None:
    ledger = Ledger(ledger_pool, replace(OPEN, calls=5), clock)

    rows = await ledger.reserve(2, 2, 2, 1)

    # Behind the first that is refused, its priority gets nothing more: the oldest goes first.
    assert granted(rows) == [True, True, False, False]
    assert rows[2]["used_up"] == "minute"
    assert rows[3]["retry_at"] is None


async def test_the_refused_come_back_when_a_call_is_free_and_soon_while_some_are_only_reserved(
    ledger_pool: asyncpg.Pool, clock: MovedClock
) -> None:
    ledger = Ledger(ledger_pool, replace(OPEN, calls=2), clock)
    await ledger.quota.release(await take(ledger.quota), QuotaFeedback())
    clock.pass_by(seconds=10)
    [row] = await ledger.reserve(1)

    [soon] = await ledger.reserve(1)
    assert seconds_to(clock, soon["retry_at"]) == 1

    await ledger.permit(row["reservation"])
    await ledger.reservations.give_back([row["reservation"]])
    [later] = await ledger.reserve(1)
    assert seconds_to(clock, later["retry_at"]) == 50


async def test_reserved_calls_count_for_all_others_in_the_minute_and_the_day(
    ledger_pool: asyncpg.Pool, clock: MovedClock
) -> None:
    ledger = Ledger(ledger_pool, replace(OPEN, calls=3, credits=100), clock)

    await ledger.reserve(3)

    assert (await refused(ledger.quota)).limit == "minute"
    assert await ledger.credits() == 3


async def test_each_priority_is_refused_by_its_own_share(
    ledger_pool: asyncpg.Pool, clock: MovedClock
) -> None:
    ledger = Ledger(ledger_pool, replace(OPEN, calls=4, shares=HALF), clock)

    rows = await ledger.reserve(1, 1, 1, 1, priorities=[URGENT, COMMANDS, COMMANDS, READS])

    assert granted(rows) == [True, True, False, True]


async def test_more_calls_than_a_share_are_granted_when_nothing_else_counts(
    ledger_pool: asyncpg.Pool, clock: MovedClock
) -> None:
    ledger = Ledger(ledger_pool, replace(OPEN, calls=4, shares=HALF), clock)

    assert granted(await ledger.reserve(3)) == [True]
    assert granted(await ledger.reserve(3)) == [False]


async def test_a_call_turns_a_reserved_unit_into_a_permit_though_the_minute_is_used_up(
    ledger_pool: asyncpg.Pool, clock: MovedClock
) -> None:
    ledger = Ledger(ledger_pool, replace(OPEN, calls=2, credits=100), clock)
    [row] = await ledger.reserve(2)

    permits = [await ledger.permit(row["reservation"]) for _ in range(3)]

    assert [permit.permit is not None for permit in permits] == [True, True, False]
    assert permits[2].used_up == "reservation"
    assert await ledger.credits() == 2
    assert (await refused(ledger.quota)).limit == "minute"


async def test_a_reserved_call_waits_only_for_a_slot_in_flight(
    ledger_pool: asyncpg.Pool, clock: MovedClock
) -> None:
    ledger = Ledger(ledger_pool, replace(OPEN, in_flight=1), clock)
    [row] = await ledger.reserve(2)
    permit = await take(ledger.quota)

    assert (await ledger.permit(row["reservation"])).used_up == "concurrency"

    await ledger.quota.release(permit, QuotaFeedback())
    assert (await ledger.permit(row["reservation"])).permit is not None


async def test_a_reserved_call_is_not_made_into_a_refusal_of_zoho(
    ledger_pool: asyncpg.Pool, clock: MovedClock
) -> None:
    ledger = Ledger(ledger_pool, OPEN, clock)
    [row] = await ledger.reserve(1)
    permit = await take(ledger.quota)
    await ledger.quota.release(permit, QuotaFeedback(limit="minute", wait_s=20))

    decision = await ledger.permit(row["reservation"])

    assert (decision.permit, decision.used_up, decision.wait_s) == (None, "minute", 20)
    assert granted(await ledger.reserve(1)) == [False]


async def test_what_is_given_back_counts_for_nothing(
    ledger_pool: asyncpg.Pool, clock: MovedClock
) -> None:
    ledger = Ledger(ledger_pool, replace(OPEN, calls=3, credits=100), clock)
    [row] = await ledger.reserve(3)
    await ledger.permit(row["reservation"])

    await ledger.reservations.give_back([row["reservation"]])
    await ledger.reservations.give_back([row["reservation"]])

    assert await ledger.credits() == 1
    assert granted(await ledger.reserve(2)) == [True]


async def test_a_reservation_of_a_dead_process_ends_at_its_deadline(
    ledger_pool: asyncpg.Pool, clock: MovedClock
) -> None:
    ledger = Ledger(ledger_pool, replace(OPEN, calls=3, credits=100), clock)
    [row] = await ledger.reserve(3, deadline_s=40)

    clock.pass_by(seconds=41)

    assert (await ledger.permit(row["reservation"])).used_up == "reservation"
    assert granted(await ledger.reserve(3)) == [True]
    assert await ledger.credits() == 3


async def test_a_heavy_call_books_all_of_its_weight(
    ledger_pool: asyncpg.Pool, clock: MovedClock
) -> None:
    ledger = Ledger(ledger_pool, replace(OPEN, credits=100), clock)
    [row] = await ledger.reserve(1)

    await ledger.permit(row["reservation"], weight=5)

    assert await ledger.credits() == 5


async def test_the_day_and_its_pace_bound_what_is_reserved(
    ledger_pool: asyncpg.Pool, clock: MovedClock
) -> None:
    unpaced = {**OPEN.unpaced, Priority.READS: 0.1}
    ledger = Ledger(ledger_pool, replace(OPEN, credits=1000, unpaced=unpaced), clock)

    paced = await ledger.reserve(*[1] * 200, priorities=[READS] * 200)
    reserved = sum(granted(paced))
    assert 100 < reserved < 200
    assert [row["used_up"] for row in paced if row["used_up"]] == ["pace"]
    assert not await granted_or_not(ledger.quota, Priority.READS, weight=1)

    rows = await ledger.reserve(1000 - reserved, 1, priorities=[COMMANDS] * 2)
    assert granted(rows) == [True, False]
    assert rows[1]["used_up"] == "day"


async def test_credits_that_are_only_reserved_are_not_taken_for_zohos_mistake(
    ledger_pool: asyncpg.Pool, clock: MovedClock
) -> None:
    ledger = Ledger(ledger_pool, replace(OPEN, credits=100), clock)
    await ledger.reserve(10)
    permit = await take(ledger.quota)

    # Zoho has seen one call of ours and 9 of others.
    await ledger.quota.release(permit, QuotaFeedback(credits_limit=100, credits_left=90))

    others = await ledger_pool.fetchval("SELECT credits_of_others FROM relay.quota_told")
    assert others == 9


async def test_what_was_reserved_before_takes_nothing_of_the_pace_of_a_new_quarter(
    ledger_pool: asyncpg.Pool, clock: MovedClock
) -> None:
    unpaced = {**OPEN.unpaced, Priority.READS: 0.1}
    ledger = Ledger(ledger_pool, replace(OPEN, credits=1000, unpaced=unpaced), clock)
    rows = await ledger.reserve(*[1] * 200, priorities=[READS] * 200, deadline_s=1000)
    refused_until = next(row["retry_at"] for row in rows if row["used_up"] == "pace")

    clock.pass_by(seconds=seconds_to(clock, refused_until))

    assert granted(await ledger.reserve(1, priorities=[READS])) == [True]
    assert await granted_or_not(ledger.quota, Priority.READS, weight=1)


async def test_what_was_reserved_before_the_reset_is_spent_in_the_new_day_if_made_there(
    ledger_pool: asyncpg.Pool, clock: MovedClock
) -> None:
    ledger = Ledger(ledger_pool, replace(OPEN, credits=100), clock)
    midnight = datetime.combine(clock().date() + timedelta(days=1), time(), UTC)
    clock.pass_by(seconds=seconds_to(clock, midnight) - 10)
    [row] = await ledger.reserve(90)

    clock.pass_by(seconds=20)

    assert granted(await ledger.reserve(11)) == [False]
    assert granted(await ledger.reserve(10)) == [True]
    await ledger.permit(row["reservation"])
    await ledger.reservations.give_back([row["reservation"]])
    assert await ledger.credits() == 10 + 1


async def test_who_is_refused_for_what_is_only_reserved_of_the_day_comes_back_soon(
    ledger_pool: asyncpg.Pool, clock: MovedClock
) -> None:
    ledger = Ledger(ledger_pool, replace(OPEN, credits=10), clock)
    await ledger.reserve(10)

    [row] = await ledger.reserve(1)
    error = await refused(ledger.quota)

    assert row["used_up"] == error.limit == "day"
    assert seconds_to(clock, row["retry_at"]) == error.retry_after_s == 1


async def test_calls_that_count_in_no_window_are_forgotten_though_all_are_reserved_ahead(
    ledger_pool: asyncpg.Pool, clock: MovedClock
) -> None:
    ledger = Ledger(ledger_pool, OPEN, clock)
    for _ in range(3):
        [row] = await ledger.reserve(1)
        await ledger.permit(row["reservation"])
        clock.pass_by(seconds=1000)
    [row] = await ledger.reserve(1)

    await ledger.reservations.give_back([row["reservation"]])

    assert await ledger_pool.fetchval("SELECT count(*) FROM relay.permits") == 0
    assert await ledger_pool.fetchval("SELECT count(*) FROM relay.reservations") == 0


async def test_credits_that_are_only_reserved_are_gone_in_the_forecast(
    ledger_pool: asyncpg.Pool, clock: MovedClock
) -> None:
    ledger = Ledger(ledger_pool, replace(OPEN, credits=10), clock)

    await ledger.reserve(10)

    forecast = "SELECT relay.quota_forecast('default', 'billing', 10, 'UTC', $1)"
    assert await ledger_pool.fetchval(forecast, clock()) == 0
