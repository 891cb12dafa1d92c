"""Test that the ledger decides who may call, by PostgreSQL's clock."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest

from shared.errors import RateLimited
from shared.storage.rehearsal import rehearse
from shared.zoho.call.operation import Operation
from shared.zoho.products.profiles import PROFILES
from shared.zoho.quota import ledger
from shared.zoho.quota import quota as quotas
from shared.zoho.quota.limits import SHARES
from shared.zoho.quota.priority import Priority
from shared.zoho.quota.quota import Decision, Permit, Quota, QuotaFeedback
from tests.shared.zoho.moved_clock import MovedClock
from tests.shared.zoho.permits_taken import OPEN, PATIENT_S, quota_of, refused, take


async def test_no_more_calls_than_the_window_allows(ledger_pool: asyncpg.Pool) -> None:
    quota = quota_of(ledger_pool, replace(OPEN, calls=3))
    for _ in range(3):
        await quota.release(await take(quota), QuotaFeedback())

    error = await refused(quota)

    assert (error.limit, error.product) == ("minute", "billing")
    assert 30 < error.retry_after_s <= 60


async def test_what_warms_the_ledger_up_counts_for_nothing(ledger_pool: asyncpg.Pool) -> None:
    quota = quota_of(ledger_pool, replace(OPEN, calls=1, credits=1))

    await rehearse(ledger_pool, 100, quota.rehearse)

    assert ledger_pool.get_idle_size() == ledger_pool.get_max_size()
    assert await ledger_pool.fetchval("SELECT count(*) FROM relay.permits") == 0
    assert await ledger_pool.fetchval("SELECT count(*) FROM relay.quota_spent") == 0
    await take(quota)


async def test_replicas_share_one_count(ledger_pool: asyncpg.Pool) -> None:
    limits = replace(OPEN, calls=10)
    # Patient enough for a turn of its own, and not for the minute that is used up.
    replicas = [quota_of(ledger_pool, limits, longest_wait_s=PATIENT_S) for _ in range(4)]

    asked = [take(replica) for replica in replicas for _ in range(5)]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)

    assert sum(isinstance(outcome, Permit) for outcome in outcomes) == 10


async def test_organizations_do_not_share(ledger_pool: asyncpg.Pool) -> None:
    quota = quota_of(ledger_pool, replace(OPEN, calls=1))
    await take(quota)
    assert await take(quota, org="another")


async def test_a_call_counts_for_one_window_after_its_answer(
    ledger_pool: asyncpg.Pool, clock: MovedClock
) -> None:
    quota = quota_of(ledger_pool, replace(OPEN, calls=1, window_s=60.0), clock=clock)
    permit = await take(quota)
    clock.pass_by(seconds=20)
    await quota.release(permit, QuotaFeedback())

    clock.pass_by(seconds=59)
    assert (await refused(quota)).retry_after_s == 1
    clock.pass_by(seconds=1)
    assert await take(quota)


async def test_no_window_ever_holds_more_than_the_limit(
    ledger_pool: asyncpg.Pool, clock: MovedClock
) -> None:
    limits = replace(OPEN, calls=10, window_s=60.0, shares=SHARES)
    replicas = [quota_of(ledger_pool, limits, clock=clock) for _ in range(4)]
    arrived: list[datetime] = []

    async def work(quota: Quota, priority: Priority) -> None:
        while len(arrived) < 40:
            try:
                permit = await take(quota, priority)
            except RateLimited:
                clock.pass_by(seconds=3)
                continue
            arrived.append(clock())  # Zoho would count it here
            clock.pass_by(seconds=1)
            await quota.release(permit, QuotaFeedback())

    await asyncio.gather(
        *(
            work(quota, priority)
            for quota in replicas
            for priority in (Priority.URGENT, Priority.READS)
        )
    )

    assert len(arrived) >= 40
    window = timedelta(seconds=60)
    assert all(later - first >= window for first, later in zip(arrived, arrived[10:], strict=False))


async def test_calls_in_flight_are_bounded(ledger_pool: asyncpg.Pool) -> None:
    quota = quota_of(ledger_pool, replace(OPEN, in_flight=2))
    first, _ = await take(quota), await take(quota)
    assert (await refused(quota)).limit == "concurrency"

    await quota.release(first, QuotaFeedback())

    assert await take(quota)


async def test_a_good_answer_is_noted_in_the_background(ledger_pool: asyncpg.Pool) -> None:
    quota = quota_of(ledger_pool, replace(OPEN, in_flight=1))

    quota.release_soon(await take(quota), QuotaFeedback())
    await quota.idle()

    assert await take(quota)


async def test_a_call_waits_for_the_note_of_the_one_before_it(
    ledger_pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused for a slot that is about to be free, it would pause and ask again and again."""
    answered: asyncio.Queue[str | None] = asyncio.Queue()
    decide = ledger.decide

    async def told(*arguments: Any) -> Any:
        row = await decide(*arguments)
        answered.put_nowait(row["used_up"])
        return row

    def pauses(_: float) -> float:
        raise AssertionError("it paused")

    monkeypatch.setattr(ledger, "decide", told)
    monkeypatch.setattr(quotas, "jittered_s", pauses)
    quota = quota_of(ledger_pool, replace(OPEN, in_flight=1), longest_wait_s=60.0)
    first = await take(quota)
    async with ledger_pool.acquire() as other, other.transaction():
        await other.execute("SELECT FROM relay.permits WHERE id = $1 FOR UPDATE", first.id)
        quota.release_soon(first, QuotaFeedback())
        second = asyncio.create_task(take(quota))
        assert [await answered.get() for _ in range(2)] == [None, "concurrency"]

    assert await second
    assert answered.get_nowait() is None


async def test_a_dead_worker_gives_its_slot_back_at_the_deadline(
    ledger_pool: asyncpg.Pool, clock: MovedClock
) -> None:
    quota = quota_of(ledger_pool, replace(OPEN, in_flight=1), clock=clock)
    await take(quota, deadline_s=60)

    clock.pass_by(seconds=59)
    assert (await refused(quota)).limit == "concurrency"
    clock.pass_by(seconds=1)
    assert await take(quota)


async def test_what_was_never_written_counts_for_nothing(ledger_pool: asyncpg.Pool) -> None:
    quota = quota_of(ledger_pool, replace(OPEN, calls=1, credits=1))
    await quota.give_back(await take(quota))
    assert await take(quota)


@pytest.mark.parametrize(
    ("priority", "granted"),
    [
        (Priority.BACKFILL, 60),
        (Priority.READS, 70),
        (Priority.COMMANDS, 80),
        (Priority.URGENT, 100),
    ],
)
async def test_a_priority_leaves_what_is_kept_for_those_above(
    ledger_pool: asyncpg.Pool, priority: Priority, granted: int
) -> None:
    quota = quota_of(ledger_pool, replace(PROFILES["billing"].quota.limits(), in_flight=None))
    for _ in range(granted):
        await take(quota, priority)

    assert (await refused(quota, priority)).limit == "minute"
    if priority is not Priority.URGENT:
        assert await take(quota, Priority.URGENT)


async def test_lower_priorities_leave_a_place_among_the_calls_in_flight(
    ledger_pool: asyncpg.Pool,
) -> None:
    quota = quota_of(ledger_pool, PROFILES["desk"].quota.limits())
    for _ in range(4):
        await take(quota)
    assert (await refused(quota)).limit == "concurrency"
    assert await take(quota, Priority.URGENT)


async def test_zohos_refusal_stops_every_replica(ledger_pool: asyncpg.Pool) -> None:
    here, there = quota_of(ledger_pool, OPEN), quota_of(ledger_pool, OPEN)
    await here.release(await take(here), QuotaFeedback("day", 7200.0))

    error = await refused(there, Priority.URGENT)

    assert error.limit == "day"
    assert 7100 < error.retry_after_s <= 7200


async def test_refusals_that_do_not_end_are_the_days(
    ledger_pool: asyncpg.Pool, clock: MovedClock
) -> None:
    quota = quota_of(ledger_pool, replace(OPEN, day_limit_suspected_after_s=120.0), clock=clock)
    first = await quota.release(await take(quota), QuotaFeedback("concurrency", 0.01))
    assert first == QuotaFeedback("concurrency", 0.01)
    clock.pass_by(minutes=3)

    second = await quota.release(await take(quota), QuotaFeedback("concurrency", 0.01))

    assert second == QuotaFeedback("day", 1800.0)
    assert (await refused(quota)).limit == "day"


async def test_served_calls_end_a_row_of_refusals(
    ledger_pool: asyncpg.Pool, clock: MovedClock
) -> None:
    quota = quota_of(ledger_pool, replace(OPEN, day_limit_suspected_after_s=120.0), clock=clock)
    await quota.release(await take(quota), QuotaFeedback("concurrency", 0.01))
    clock.pass_by(seconds=1)
    await quota.release(await take(quota), QuotaFeedback())

    clock.pass_by(minutes=3)
    later = await quota.release(await take(quota), QuotaFeedback("concurrency", 0.01))

    assert later.limit == "concurrency"


async def test_every_decision_is_reported_to_the_observer(
    ledger_pool: asyncpg.Pool, clock: MovedClock
) -> None:
    seen: list[Decision] = []
    observe: Callable[[Decision], None] = seen.append
    limits = replace(OPEN, calls=1, credits=100)
    quota = quota_of(ledger_pool, limits, observe=observe, clock=clock)
    await take(quota, weight=3)
    await refused(quota)
    assert [(d.granted, d.calls_left, d.credits_left) for d in seen] == [
        (True, 0, 97),
        (False, 0, 97),
    ]


async def test_a_lost_connection_at_release_does_not_lose_the_answer(
    ledger_pool: asyncpg.Pool,
) -> None:
    quota = quota_of(ledger_pool, OPEN)
    permit = await take(quota)
    await ledger_pool.close()
    assert await quota.release(permit, QuotaFeedback("minute", 60.0)) == QuotaFeedback(
        "minute", 60.0
    )


async def test_heavy_calls_have_a_smaller_limit_of_their_own(ledger_pool: asyncpg.Pool) -> None:
    quota = quota_of(ledger_pool, replace(OPEN, in_flight=5, heavy_in_flight=2))
    heavy = [await take(quota, Priority.READS, weight=10, heavy=True) for _ in "ab"]
    with pytest.raises(RateLimited) as caught:
        await take(quota, Priority.READS, weight=10, heavy=True)
    assert caught.value.limit == "concurrency"
    assert await take(quota)

    await quota.release(heavy[0], QuotaFeedback())

    assert await take(quota, Priority.READS, weight=10, heavy=True)


@pytest.mark.parametrize(
    ("operation", "weight", "heavy"),
    [
        (Operation("crm", "upsert_contacts", "POST", heavy_above=1), 1, False),
        (Operation("crm", "upsert_contacts", "POST", heavy_above=1), 2, True),
        (Operation("crm", "coql", "POST", heavy_above=0), 1, True),
        (Operation("crm", "add_tags", "POST"), 10, False),
    ],
)
def test_which_calls_are_heavy(operation: Operation, weight: int, heavy: bool) -> None:
    call = operation.call("default", Priority.COMMANDS, weight=weight)
    assert (call.weight, call.heavy) == (weight, heavy)
