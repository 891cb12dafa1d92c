"""The ledger decides who may call, by PostgreSQL's clock."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import asyncpg
import pytest

from shared.errors import RateLimited
from shared.zoho.call.operation import Operation
from shared.zoho.quota.limits import SHARES, limits_of
from shared.zoho.quota.priority import Priority
from shared.zoho.quota.quota import Decision, Permit, Quota, QuotaFeedback
from tests.shared.zoho.permits_taken import OPEN, PATIENT_S, quota_of, refused, take

pytestmark = pytest.mark.usefixtures("noted_before_going_on")


async def test_no_more_calls_than_the_window_allows(ledger_pool: asyncpg.Pool) -> None:
    quota = quota_of(ledger_pool, replace(OPEN, calls=3))
    for _ in range(3):
        await quota.release(await take(quota), QuotaFeedback())

    error = await refused(quota)

    assert (error.limit, error.product) == ("minute", "billing")
    assert 30 < error.retry_after_s <= 60


async def test_what_warms_the_ledger_up_counts_for_nothing(ledger_pool: asyncpg.Pool) -> None:
    quota = quota_of(ledger_pool, replace(OPEN, calls=1, credits=1))

    await quota.warm_up(100)

    assert ledger_pool.get_idle_size() == ledger_pool.get_max_size()
    assert await ledger_pool.fetchval("SELECT count(*) FROM relay.permits") == 0
    assert await ledger_pool.fetchval("SELECT count(*) FROM relay.quota_spent") == 0
    await take(quota)


async def test_replicas_share_one_count(ledger_pool: asyncpg.Pool) -> None:
    limits = replace(OPEN, calls=10)
    # Patient enough for a turn of its own, and not for the minute that is used up.
    replicas = [quota_of(ledger_pool, limits, patience_s=PATIENT_S) for _ in range(4)]

    asked = [take(replica) for replica in replicas for _ in range(5)]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)

    assert sum(isinstance(outcome, Permit) for outcome in outcomes) == 10


async def test_organizations_do_not_share(ledger_pool: asyncpg.Pool) -> None:
    quota = quota_of(ledger_pool, replace(OPEN, calls=1))
    await take(quota)
    assert await take(quota, org="another")


async def test_a_call_counts_for_one_window_after_its_answer(ledger_pool: asyncpg.Pool) -> None:
    quota = quota_of(ledger_pool, replace(OPEN, calls=1, window_s=0.4), patience_s=PATIENT_S)
    began = asyncio.get_running_loop().time()
    await quota.release(await take(quota), QuotaFeedback())

    await take(quota)

    assert asyncio.get_running_loop().time() - began >= 0.4


async def test_no_window_ever_holds_more_than_the_limit(ledger_pool: asyncpg.Pool) -> None:
    limits = replace(OPEN, calls=10, window_s=0.5, shares=SHARES)
    replicas = [quota_of(ledger_pool, limits, patience_s=PATIENT_S) for _ in range(4)]
    arrived: list[float] = []

    async def work(quota: Quota, lane: Priority) -> None:
        while len(arrived) < 40:
            permit = await take(quota, lane)
            arrived.append(asyncio.get_running_loop().time())  # Zoho would count it here
            await quota.release(permit, QuotaFeedback())

    workers = [
        work(quota, lane) for quota in replicas for lane in (Priority.URGENT, Priority.READS)
    ]
    await asyncio.gather(*workers, return_exceptions=True)

    assert len(arrived) >= 40
    assert all(later - first >= 0.5 for first, later in zip(arrived, arrived[10:], strict=False))


async def test_calls_in_flight_are_bounded(ledger_pool: asyncpg.Pool) -> None:
    quota = quota_of(ledger_pool, replace(OPEN, in_flight=2))
    first, _ = await take(quota), await take(quota)
    assert (await refused(quota)).limit == "concurrency"

    await quota.release(first, QuotaFeedback())

    assert await take(quota)


async def test_a_dead_worker_gives_its_slot_back_at_the_deadline(ledger_pool: asyncpg.Pool) -> None:
    quota = quota_of(ledger_pool, replace(OPEN, in_flight=1), patience_s=PATIENT_S)
    await take(quota, deadline_s=0.3)
    assert await take(quota)


async def test_what_was_never_written_counts_for_nothing(ledger_pool: asyncpg.Pool) -> None:
    quota = quota_of(ledger_pool, replace(OPEN, calls=1, credits=1))
    await quota.give_back(await take(quota))
    assert await take(quota)


@pytest.mark.parametrize(
    ("lane", "granted"),
    [
        (Priority.BACKFILL, 60),
        (Priority.READS, 70),
        (Priority.COMMANDS, 80),
        (Priority.URGENT, 100),
    ],
)
async def test_a_lane_leaves_what_is_kept_for_those_above(
    ledger_pool: asyncpg.Pool, lane: Priority, granted: int
) -> None:
    quota = quota_of(ledger_pool, replace(limits_of("billing"), in_flight=None))
    for _ in range(granted):
        await take(quota, lane)

    assert (await refused(quota, lane)).limit == "minute"
    if lane is not Priority.URGENT:
        assert await take(quota, Priority.URGENT)


async def test_lower_lanes_leave_a_place_among_the_calls_in_flight(
    ledger_pool: asyncpg.Pool,
) -> None:
    quota = quota_of(ledger_pool, limits_of("desk"))
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


async def test_refusals_that_do_not_end_are_the_days(ledger_pool: asyncpg.Pool) -> None:
    quota = quota_of(ledger_pool, replace(OPEN, refusal_patience_s=120.0))
    first = await quota.release(await take(quota), QuotaFeedback("concurrency", 0.01))
    assert first == QuotaFeedback("concurrency", 0.01)
    await ledger_pool.execute(
        "UPDATE relay.quota_told SET concurrency_until = NULL,"
        " throttled_since = throttled_since - interval '3 minutes'"
    )

    second = await quota.release(await take(quota), QuotaFeedback("concurrency", 0.01))

    assert second == QuotaFeedback("day", 1800.0)
    assert (await refused(quota)).limit == "day"


async def test_served_calls_end_a_row_of_refusals(ledger_pool: asyncpg.Pool) -> None:
    quota = quota_of(ledger_pool, replace(OPEN, refusal_patience_s=120.0), patience_s=PATIENT_S)
    await quota.release(await take(quota), QuotaFeedback("concurrency", 0.01))
    await quota.release(await take(quota), QuotaFeedback())
    since = await ledger_pool.fetchval("SELECT throttled_since FROM relay.quota_told")
    assert since is None


@pytest.mark.usefixtures("within_a_quarter_of_an_hour")
async def test_every_decision_is_told_to_the_observer(ledger_pool: asyncpg.Pool) -> None:
    seen: list[Decision] = []
    observe: Callable[[Decision], None] = seen.append
    quota = quota_of(ledger_pool, replace(OPEN, calls=1, credits=100), observe=observe)
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
    heavy = [
        await quota.take("default", "billing", Priority.READS, 10, 60, 10, heavy=True) for _ in "ab"
    ]
    with pytest.raises(RateLimited) as caught:
        await quota.take("default", "billing", Priority.READS, 10, 60, 10, heavy=True)
    assert caught.value.limit == "concurrency"
    assert await take(quota)

    await quota.release(heavy[0], QuotaFeedback())

    assert await quota.take("default", "billing", Priority.READS, 10, 60, 10, heavy=True)


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
    assert operation.is_heavy(weight) is heavy
