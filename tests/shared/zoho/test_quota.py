"""The ledger decides who may call, by PostgreSQL's clock."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from math import inf

import asyncpg
import pytest

from shared.errors import RateLimited
from shared.zoho.calls import Operation
from shared.zoho.lanes import Lane
from shared.zoho.quota import Decision, Permit, Quota, Told
from shared.zoho.quota_forecast import QuotaForecast
from shared.zoho.quota_limits import SHARES, UNPACED, Limits, limits_of

ALL = dict.fromkeys(Lane, 1.0)
OPEN = Limits(
    calls=None,
    window_s=60.0,
    in_flight=None,
    credits=None,
    zone="UTC",
    shares=ALL,
    unpaced=ALL,
)


def quota_of(pool: asyncpg.Pool, limits: Limits, **options: object) -> Quota:
    return Quota(pool, {"billing": limits}, **{"patience_s": 0.0, **options})  # type: ignore[arg-type]


async def take(
    quota: Quota,
    lane: Lane = Lane.COMMANDS,
    *,
    org: str = "default",
    weight: int = 1,
    deadline_s: float = 60.0,
) -> Permit:
    return await quota.take(org, "billing", lane, weight, deadline_s, 10.0)


async def refused(quota: Quota, lane: Lane = Lane.COMMANDS, *, weight: int = 1) -> RateLimited:
    with pytest.raises(RateLimited) as caught:
        await take(quota, lane, weight=weight)
    return caught.value


async def test_no_more_calls_than_the_window_allows(ledger_pool: asyncpg.Pool) -> None:
    quota = quota_of(ledger_pool, replace(OPEN, calls=3))
    for _ in range(3):
        await quota.release(await take(quota), Told())

    error = await refused(quota)

    assert (error.limit, error.product) == ("minute", "billing")
    assert 55 < error.retry_after_s <= 60


async def test_what_warms_the_ledger_up_counts_for_nothing(ledger_pool: asyncpg.Pool) -> None:
    quota = quota_of(ledger_pool, replace(OPEN, calls=1, credits=1))

    await quota.warm_up(100)

    assert ledger_pool.get_idle_size() == ledger_pool.get_max_size()
    assert await ledger_pool.fetchval("SELECT count(*) FROM relay.permits") == 0
    assert await ledger_pool.fetchval("SELECT count(*) FROM relay.quota_spent") == 0
    await take(quota)


async def test_replicas_share_one_count(ledger_pool: asyncpg.Pool) -> None:
    limits = replace(OPEN, calls=10)
    replicas = [quota_of(ledger_pool, limits) for _ in range(4)]

    asked = [take(replica) for replica in replicas for _ in range(5)]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)

    assert sum(isinstance(outcome, Permit) for outcome in outcomes) == 10


async def test_organizations_do_not_share(ledger_pool: asyncpg.Pool) -> None:
    quota = quota_of(ledger_pool, replace(OPEN, calls=1))
    await take(quota)
    assert await take(quota, org="another")


async def test_a_call_counts_for_one_window_after_its_answer(ledger_pool: asyncpg.Pool) -> None:
    quota = quota_of(ledger_pool, replace(OPEN, calls=1, window_s=0.4), patience_s=5.0)
    began = asyncio.get_running_loop().time()
    await quota.release(await take(quota), Told())

    await take(quota)

    assert asyncio.get_running_loop().time() - began >= 0.4


async def test_no_window_ever_holds_more_than_the_limit(ledger_pool: asyncpg.Pool) -> None:
    limits = replace(OPEN, calls=10, window_s=0.5, shares=SHARES)
    replicas = [quota_of(ledger_pool, limits, patience_s=5.0) for _ in range(4)]
    arrived: list[float] = []

    async def work(quota: Quota, lane: Lane) -> None:
        while len(arrived) < 40:
            permit = await take(quota, lane)
            arrived.append(asyncio.get_running_loop().time())  # Zoho would count it here
            await quota.release(permit, Told())

    workers = [work(quota, lane) for quota in replicas for lane in (Lane.URGENT, Lane.READS)]
    await asyncio.gather(*workers, return_exceptions=True)

    assert len(arrived) >= 40
    assert all(later - first >= 0.5 for first, later in zip(arrived, arrived[10:], strict=False))


async def test_calls_in_flight_are_bounded(ledger_pool: asyncpg.Pool) -> None:
    quota = quota_of(ledger_pool, replace(OPEN, in_flight=2))
    first, _ = await take(quota), await take(quota)
    assert (await refused(quota)).limit == "concurrency"

    await quota.release(first, Told())

    assert await take(quota)


async def test_a_dead_worker_gives_its_slot_back_at_the_deadline(ledger_pool: asyncpg.Pool) -> None:
    quota = quota_of(ledger_pool, replace(OPEN, in_flight=1), patience_s=5.0)
    await take(quota, deadline_s=0.3)
    assert await take(quota)


async def test_what_was_never_written_counts_for_nothing(ledger_pool: asyncpg.Pool) -> None:
    quota = quota_of(ledger_pool, replace(OPEN, calls=1, credits=1))
    await quota.give_back(await take(quota))
    assert await take(quota)


async def test_credits_of_the_day_go_by_weight(ledger_pool: asyncpg.Pool) -> None:
    quota = quota_of(ledger_pool, replace(OPEN, credits=10))
    await quota.release(await take(quota, weight=8), Told())

    error = await refused(quota, weight=3)

    assert error.limit == "day"
    assert 0 < error.retry_after_s <= 86_400
    assert await take(quota, weight=2)


async def test_rolling_credits_come_back_after_24_hours(ledger_pool: asyncpg.Pool) -> None:
    quota = quota_of(ledger_pool, replace(OPEN, credits=1, zone=None))
    await quota.release(await take(quota), Told())
    assert (await refused(quota)).limit == "day"

    await ledger_pool.execute("UPDATE relay.quota_spent SET slot = slot - interval '25 hours'")

    assert await take(quota)


@pytest.mark.parametrize(
    ("lane", "granted"),
    [(Lane.BACKFILL, 60), (Lane.READS, 70), (Lane.COMMANDS, 80), (Lane.URGENT, 100)],
)
async def test_a_lane_leaves_what_is_kept_for_those_above(
    ledger_pool: asyncpg.Pool, lane: Lane, granted: int
) -> None:
    quota = quota_of(ledger_pool, replace(limits_of("billing"), in_flight=None))
    for _ in range(granted):
        await take(quota, lane)

    assert (await refused(quota, lane)).limit == "minute"
    if lane is not Lane.URGENT:
        assert await take(quota, Lane.URGENT)


async def test_lower_lanes_leave_a_place_among_the_calls_in_flight(
    ledger_pool: asyncpg.Pool,
) -> None:
    quota = quota_of(ledger_pool, limits_of("desk"))
    for _ in range(4):
        await take(quota)
    assert (await refused(quota)).limit == "concurrency"
    assert await take(quota, Lane.URGENT)


async def test_zohos_refusal_stops_every_replica(ledger_pool: asyncpg.Pool) -> None:
    here, there = quota_of(ledger_pool, OPEN), quota_of(ledger_pool, OPEN)
    await here.release(await take(here), Told("day", 7200.0))

    error = await refused(there, Lane.URGENT)

    assert error.limit == "day"
    assert 7100 < error.retry_after_s <= 7200


async def test_headers_tell_what_others_spent(ledger_pool: asyncpg.Pool) -> None:
    quota = quota_of(ledger_pool, OPEN)
    await quota.release(await take(quota), Told(credits_limit=1000, credits_left=1))

    await quota.release(await take(quota), Told(credits_limit=1000, credits_left=0))

    assert (await refused(quota)).limit == "day"


async def test_refusals_that_do_not_end_are_the_days(ledger_pool: asyncpg.Pool) -> None:
    quota = quota_of(ledger_pool, replace(OPEN, refusal_patience_s=120.0))
    first = await quota.release(await take(quota), Told("concurrency", 0.01))
    assert first == Told("concurrency", 0.01)
    await ledger_pool.execute(
        "UPDATE relay.quota_told SET concurrency_until = NULL,"
        " throttled_since = throttled_since - interval '3 minutes'"
    )

    second = await quota.release(await take(quota), Told("concurrency", 0.01))

    assert second == Told("day", 1800.0)
    assert (await refused(quota)).limit == "day"


async def test_served_calls_end_a_row_of_refusals(ledger_pool: asyncpg.Pool) -> None:
    quota = quota_of(ledger_pool, replace(OPEN, refusal_patience_s=120.0), patience_s=5.0)
    await quota.release(await take(quota), Told("concurrency", 0.01))
    await quota.release(await take(quota), Told())
    since = await ledger_pool.fetchval("SELECT throttled_since FROM relay.quota_told")
    assert since is None


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
    assert await quota.release(permit, Told("minute", 60.0)) == Told("minute", 60.0)


async def test_heavy_calls_have_a_smaller_limit_of_their_own(ledger_pool: asyncpg.Pool) -> None:
    quota = quota_of(ledger_pool, replace(OPEN, in_flight=5, heavy_in_flight=2))
    heavy = [
        await quota.take("default", "billing", Lane.READS, 10, 60, 10, heavy=True) for _ in "ab"
    ]
    with pytest.raises(RateLimited) as caught:
        await quota.take("default", "billing", Lane.READS, 10, 60, 10, heavy=True)
    assert caught.value.limit == "concurrency"
    assert await take(quota)

    await quota.release(heavy[0], Told())

    assert await quota.take("default", "billing", Lane.READS, 10, 60, 10, heavy=True)


PACED = replace(
    OPEN, credits=96_000, shares=SHARES, unpaced={**UNPACED, Lane.BACKFILL: 0.0}, zone=None
)
QUARTER = 600  # of backfill's 57,600 credits in 24 hours


async def test_a_morning_of_backfill_leaves_the_evening_its_credits(
    ledger_pool: asyncpg.Pool,
) -> None:
    quota = quota_of(ledger_pool, PACED)
    await take(quota, Lane.BACKFILL, weight=QUARTER)

    error = await refused(quota, Lane.BACKFILL)

    assert error.limit == "pace"
    assert 0 < error.retry_after_s <= 900
    for lane in (Lane.READS, Lane.COMMANDS, Lane.URGENT):
        assert await take(quota, lane)
    await later(ledger_pool, "15 minutes")
    assert await take(quota, Lane.BACKFILL)


async def test_a_small_backfill_is_not_drawn_out(ledger_pool: asyncpg.Pool) -> None:
    quota = quota_of(ledger_pool, replace(PACED, unpaced=UNPACED))
    await take(quota, Lane.BACKFILL, weight=19_200)  # a fifth of the day
    await take(quota, Lane.BACKFILL, weight=400)  # and this quarter's part of two more fifths
    assert (await refused(quota, Lane.BACKFILL)).limit == "pace"


async def test_a_quarter_of_an_hour_that_is_not_used_is_spread_over_the_later_ones(
    ledger_pool: asyncpg.Pool,
) -> None:
    """A day that ends in half an hour: what backfill may have is left for two or three quarters."""
    quota = quota_of(ledger_pool, replace(PACED, credits=1000))
    await quota.release(await take(quota, Lane.URGENT), resets(in_s=1800.0, left=999))
    granted = [await granted_or_not(quota, Lane.BACKFILL, weight=10) for _ in range(40)]
    assert 190 <= 10 * sum(granted) <= 310


async def test_a_call_of_great_weight_is_made_when_anything_is_left_to_the_quarter(
    ledger_pool: asyncpg.Pool,
) -> None:
    quota = quota_of(ledger_pool, PACED)
    assert await take(quota, Lane.BACKFILL, weight=5 * QUARTER)


async def test_commands_are_paced_once_they_touch_what_is_kept_for_them_alone(
    ledger_pool: asyncpg.Pool,
) -> None:
    quota = quota_of(ledger_pool, PACED)
    await take(quota, Lane.URGENT, weight=67_199)
    assert await take(quota, weight=1)
    await take(quota, weight=200)

    error = await refused(quota)

    assert error.limit == "pace"
    assert await take(quota, Lane.URGENT, weight=20_000)


async def test_zohos_own_reset_begins_the_day(ledger_pool: asyncpg.Pool) -> None:
    """Whatever our midnight is."""
    quota = quota_of(ledger_pool, replace(OPEN, credits=3))
    for left in (2, 1, 0):
        await quota.release(await take(quota), resets(in_s=0.6, left=left, limit=3))
    assert (await refused(quota)).retry_after_s <= 0.6

    patient = quota_of(ledger_pool, replace(OPEN, credits=3), patience_s=5.0)
    for left in (2, 1, 0):
        await quota.release(await take(patient), resets(in_s=86_400.0, left=left, limit=3))

    assert 80_000 < (await refused(quota)).retry_after_s <= 86_400


async def test_a_plan_that_is_set_too_high_is_corrected(ledger_pool: asyncpg.Pool) -> None:
    quota = quota_of(ledger_pool, replace(OPEN, credits=10_000))
    await quota.release(await take(quota), resets(in_s=3600.0, left=0, limit=1000))
    assert (await refused(quota)).limit == "day"


async def test_it_is_forecast_when_the_day_will_be_used_up(ledger_pool: asyncpg.Pool) -> None:
    limits = {"billing": replace(OPEN, credits=1000, zone=None)}
    quota = Quota(ledger_pool, limits)
    seen: dict[tuple[str, str], float] = {}
    forecast = QuotaForecast(
        ledger_pool,
        limits,
        called=quota.called,
        observe=lambda org, product, gone_in_s: seen.update({(org, product): gone_in_s}),
    )
    await forecast.refresh()
    assert seen == {}

    await quota.release(await take(quota, weight=500), Told())
    await forecast.refresh()
    # As many again in as long as these took: 15 to 30 minutes, by the slot they fell into.
    assert 890 < seen["default", "billing"] <= 1800

    await quota.release(await take(quota, weight=500), Told("day", 60.0))
    await forecast.refresh()
    assert seen["default", "billing"] == 0


async def test_a_day_that_lasts_is_forecast_to_last(ledger_pool: asyncpg.Pool) -> None:
    limits = {"billing": replace(OPEN, credits=1_000_000)}
    quota = Quota(ledger_pool, limits)
    await quota.release(await take(quota), Told())
    seen: list[float] = []
    await QuotaForecast(
        ledger_pool,
        limits,
        called=quota.called,
        observe=lambda _org, _product, gone_in_s: seen.append(gone_in_s),
    ).refresh()
    assert seen == [inf]


async def granted_or_not(quota: Quota, lane: Lane, *, weight: int) -> bool:
    try:
        await take(quota, lane, weight=weight)
    except RateLimited:
        return False
    return True


def resets(*, in_s: float, left: int, limit: int | None = None) -> Told:
    """What Zoho's headers say on an answer."""
    return Told(None, 0.0, limit, left, in_s)


async def later(pool: asyncpg.Pool, how_much: str) -> None:
    """What was spent so far was spent that much earlier."""
    await pool.execute(f"UPDATE relay.quota_spent SET slot = slot - interval '{how_much}'")  # noqa: S608


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


def test_plans_are_named_when_one_is_misspelt() -> None:
    with pytest.raises(ValueError, match=r"premium"):
        limits_of("books", plan="premuim")


@pytest.mark.parametrize(
    ("product", "plan", "users", "a_day", "in_flight"),
    [
        ("books", "free", 1, 1_000, 5),
        ("books", "premium", 9, 10_000, 10),
        ("crm", "standard", 10, 52_500, 10),
        ("crm", "standard", 1_000, 100_000, 10),
        ("desk", "enterprise", 3, 103_000, 25),
    ],
)
def test_plans_allow_what_zoho_says(
    product: str,
    plan: str,
    users: int,
    a_day: int,
    in_flight: int,
) -> None:
    limits = limits_of(product, plan=plan, users=users)
    assert (limits.credits, limits.in_flight) == (a_day, in_flight)
