"""Test the credits of a day: how many are spent, when they come back, and at what pace."""

from dataclasses import replace
from math import inf

import asyncpg

from shared.zoho.quota.forecast import QuotaForecast
from shared.zoho.quota.limits import SHARES, UNPACED
from shared.zoho.quota.priority import Priority
from shared.zoho.quota.quota import Quota, QuotaFeedback
from tests.shared.zoho.moved_clock import MovedClock
from tests.shared.zoho.permits_taken import OPEN, granted_or_not, quota_of, refused, take

PACED = replace(
    OPEN, credits=96_000, shares=SHARES, unpaced={**UNPACED, Priority.BACKFILL: 0.0}, zone=None
)
QUARTER = 600  # of backfill's 57,600 credits in 24 hours


async def test_credits_of_the_day_go_by_weight(
    ledger_pool: asyncpg.Pool, clock: MovedClock
) -> None:
    quota = quota_of(ledger_pool, replace(OPEN, credits=10), clock=clock)
    await quota.release(await take(quota, weight=8), QuotaFeedback())

    error = await refused(quota, weight=3)

    assert error.limit == "day"
    assert 0 < error.retry_after_s <= 86_400
    assert await take(quota, weight=2)


async def test_rolling_credits_come_back_after_24_hours(
    ledger_pool: asyncpg.Pool, clock: MovedClock
) -> None:
    quota = quota_of(ledger_pool, replace(OPEN, credits=1, zone=None), clock=clock)
    await quota.release(await take(quota), QuotaFeedback())
    assert (await refused(quota)).limit == "day"

    clock.pass_by(hours=25)

    assert await take(quota)


async def test_one_answer_without_credits_shuts_a_rolling_day_for_half_an_hour_only(
    ledger_pool: asyncpg.Pool, clock: MovedClock
) -> None:
    quota = quota_of(ledger_pool, replace(OPEN, credits=5000, zone=None), clock=clock)
    nothing_left = QuotaFeedback("day", 1800.0, credits_left=0)
    await quota.release(await take(quota), nothing_left)
    assert (await refused(quota)).retry_after_s <= 1800

    clock.pass_by(minutes=31)
    probe = await take(quota)
    await quota.release(probe, nothing_left)  # others still spend it all
    assert (await refused(quota)).limit == "day"
    clock.pass_by(minutes=31)
    await quota.release(await take(quota), QuotaFeedback(credits_left=4000))

    assert await take(quota)


async def test_headers_tell_what_others_spent(ledger_pool: asyncpg.Pool, clock: MovedClock) -> None:
    quota = quota_of(ledger_pool, OPEN, clock=clock)
    await quota.release(await take(quota), QuotaFeedback(credits_limit=1000, credits_left=1))

    await quota.release(await take(quota), QuotaFeedback(credits_limit=1000, credits_left=0))

    assert (await refused(quota)).limit == "day"


async def test_a_morning_of_backfill_leaves_the_evening_its_credits(
    ledger_pool: asyncpg.Pool, clock: MovedClock
) -> None:
    quota = quota_of(ledger_pool, PACED, clock=clock)
    await take(quota, Priority.BACKFILL, weight=QUARTER)

    error = await refused(quota, Priority.BACKFILL)

    assert error.limit == "pace"
    assert 0 < error.retry_after_s <= 900
    for priority in (Priority.READS, Priority.COMMANDS, Priority.URGENT):
        assert await take(quota, priority)
    clock.pass_by(minutes=15)
    assert await take(quota, Priority.BACKFILL)


async def test_a_small_backfill_is_not_drawn_out(
    ledger_pool: asyncpg.Pool, clock: MovedClock
) -> None:
    quota = quota_of(ledger_pool, replace(PACED, unpaced=UNPACED), clock=clock)
    await take(quota, Priority.BACKFILL, weight=19_200)  # a fifth of the day
    await take(quota, Priority.BACKFILL, weight=400)  # and this quarter's part of two more fifths
    assert (await refused(quota, Priority.BACKFILL)).limit == "pace"


async def test_a_quarter_of_an_hour_that_is_not_used_is_spread_over_the_later_ones(
    ledger_pool: asyncpg.Pool, clock: MovedClock
) -> None:
    """A day that ends in half an hour: what backfill may have is left for two or three quarters."""
    quota = quota_of(ledger_pool, replace(PACED, credits=1000), clock=clock)
    await quota.release(await take(quota, Priority.URGENT), resets(in_s=1800.0, left=999))
    granted = [await granted_or_not(quota, Priority.BACKFILL, weight=10) for _ in range(40)]
    assert 190 <= 10 * sum(granted) <= 310


async def test_a_call_of_great_weight_is_made_when_anything_is_left_to_the_quarter(
    ledger_pool: asyncpg.Pool, clock: MovedClock
) -> None:
    quota = quota_of(ledger_pool, PACED, clock=clock)
    assert await take(quota, Priority.BACKFILL, weight=5 * QUARTER)


async def test_commands_are_paced_once_they_touch_what_is_kept_for_them_alone(
    ledger_pool: asyncpg.Pool, clock: MovedClock
) -> None:
    quota = quota_of(ledger_pool, PACED, clock=clock)
    await take(quota, Priority.URGENT, weight=67_199)
    assert await take(quota, weight=1)
    await take(quota, weight=200)

    error = await refused(quota)

    assert error.limit == "pace"
    assert await take(quota, Priority.URGENT, weight=20_000)


async def test_zohos_own_reset_begins_the_day(ledger_pool: asyncpg.Pool, clock: MovedClock) -> None:
    """It does not matter when our midnight is."""
    quota = quota_of(ledger_pool, replace(OPEN, credits=3), clock=clock)
    for left in (2, 1, 0):
        await quota.release(await take(quota), resets(in_s=60.0, left=left, limit=3))
    assert (await refused(quota)).retry_after_s <= 60.0

    clock.pass_by(minutes=1)
    for left in (2, 1, 0):
        await quota.release(await take(quota), resets(in_s=86_400.0, left=left, limit=3))

    assert 80_000 < (await refused(quota)).retry_after_s <= 86_400


async def test_a_plan_that_is_set_too_high_is_corrected(
    ledger_pool: asyncpg.Pool, clock: MovedClock
) -> None:
    quota = quota_of(ledger_pool, replace(OPEN, credits=10_000), clock=clock)
    await quota.release(await take(quota), resets(in_s=3600.0, left=0, limit=1000))
    assert (await refused(quota)).limit == "day"


async def test_it_is_forecast_when_the_day_will_be_used_up(
    ledger_pool: asyncpg.Pool, clock: MovedClock
) -> None:
    limits = {"billing": replace(OPEN, credits=1000, zone=None)}
    quota = Quota(ledger_pool, limits, note_within_s=60.0, clock=clock)
    seen: dict[tuple[str, str], float] = {}
    forecast = QuotaForecast(
        ledger_pool,
        limits,
        called=quota.called,
        clock=clock,
        observe=lambda org, product, gone_in_s: seen.update({(org, product): gone_in_s}),
    )
    await forecast.refresh()
    assert seen == {}

    await quota.release(await take(quota, weight=500), QuotaFeedback())
    await forecast.refresh()
    # As many again in as long as these took: one minute of this quarter of an hour, and the last.
    assert seen["default", "billing"] == 960

    await quota.release(await take(quota, weight=500), QuotaFeedback("day", 60.0))
    await forecast.refresh()
    assert seen["default", "billing"] == 0


async def test_a_day_that_lasts_is_forecast_to_last(
    ledger_pool: asyncpg.Pool, clock: MovedClock
) -> None:
    limits = {"billing": replace(OPEN, credits=1_000_000)}
    quota = Quota(ledger_pool, limits, note_within_s=60.0, clock=clock)
    await quota.release(await take(quota), QuotaFeedback())
    seen: list[float] = []
    await QuotaForecast(
        ledger_pool,
        limits,
        called=quota.called,
        clock=clock,
        observe=lambda _org, _product, gone_in_s: seen.append(gone_in_s),
    ).refresh()
    assert seen == [inf]


def resets(*, in_s: float, left: int, limit: int | None = None) -> QuotaFeedback:
    """Return what Zoho's headers say on an answer."""
    return QuotaFeedback(None, 0.0, limit, left, in_s)


async def test_a_reset_that_is_told_a_little_late_forgets_nothing_of_its_day(
    ledger_pool: asyncpg.Pool, clock: MovedClock
) -> None:
    quota = quota_of(ledger_pool, replace(OPEN, credits=10), clock=clock)
    await quota.release(await take(quota), QuotaFeedback(resets_in_s=100.0))
    clock.pass_by(seconds=101)
    spent = await take(quota, weight=6)

    await quota.release(spent, QuotaFeedback(resets_in_s=86_400.0))  # a second late

    assert (await refused(quota, weight=5)).limit == "day"
    assert await take(quota, weight=4)
