"""Measure what the ledger uses of Zoho's limit, and its decisions. Scaled: 100 calls in 6 s."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from statistics import median, quantiles

import asyncpg
import pytest
from pydantic import SecretStr

from shared.storage.migrations import migrate
from shared.storage.pool import connect
from shared.storage.rehearsal import rehearse
from shared.zoho.quota.call import Call
from shared.zoho.quota.limits import SHARES, QuotaLimits
from shared.zoho.quota.priority import Priority
from shared.zoho.quota.quota import Quota, QuotaFeedback
from tests.bench.figures import Figure, Figures
from tests.kit.quota_crowd import LANES, Crowd, crowd, most_in_a_window
from tests.kit.servers import SERVICES, new_database

pytestmark = pytest.mark.bench

CALLS, WINDOW_S, WORKERS, WINDOWS = 100, 6.0, 8, 8
ROUNDS, DECISIONS = 5, 500


@pytest.fixture
async def database_url(durable_postgres_url: str) -> AsyncIterator[str]:
    async with new_database(durable_postgres_url) as url:
        async with connect(SecretStr(url), size=1) as pool:
            await migrate(pool, schema="billing", folder=SERVICES / "billing_worker" / "migrations")
        yield url


def p99(values: list[float]) -> float:
    return quantiles(values, n=100)[98] if len(values) > 1 else max(values, default=0.0)


async def used(together: Crowd) -> float:
    """The part of the limit that was used, over whole windows, once all had begun."""
    arrivals = sorted(await together.arrivals())
    first = arrivals[0] + timedelta(seconds=WINDOW_S)
    last = first + timedelta(seconds=(WINDOWS - 2) * WINDOW_S)
    return sum(first <= at < last for at in arrivals) / (CALLS * (WINDOWS - 2))


@pytest.mark.parametrize(
    ("priorities", "share"),
    [
        (LANES, 1.0),
        *(
            ((priority.value,), SHARES[priority])
            for priority in Priority
            if priority is not Priority.URGENT
        ),
    ],
    ids=["all-priorities", "commands-alone", "reads-alone", "backfill-alone"],
)
async def test_eight_workers_use_the_minute_and_no_more(
    database_url: str, priorities: tuple[str, ...], share: float, figures: Figures
) -> None:
    async with crowd(database_url, calls=CALLS, window_s=WINDOW_S, answer_s=0.015) as together:
        for _ in range(WORKERS):
            await together.join(WINDOWS * WINDOW_S, *priorities, *priorities)
        seen = [await together.seen(process) for process in together.processes]
        part = await used(together) / share
        most = most_in_a_window(await together.arrivals(), WINDOW_S)
        refused = await together.refused()
    errors = [one["errors"] for one in seen if one["errors"]]
    name = "+".join(priorities)
    figures.show(f"{name}: {refused} refused; waited in place for too long: {errors}")
    assert refused == 0
    figures.add(Figure(f"quota, most in a window ({name})", most, "calls", at_most=CALLS))
    figures.add(Figure(f"quota, used of the share ({name})", part * 100, "%", at_least=97))


async def test_a_payment_hardly_waits_while_backfill_is_full(
    database_url: str, figures: Figures
) -> None:
    async with crowd(database_url, calls=CALLS, window_s=WINDOW_S, answer_s=0.015) as together:
        for _ in range(WORKERS - 1):
            await together.join(60.0, *["backfill"] * 8)
        await asyncio.sleep(WINDOW_S)  # the shared part is used up
        payments = await together.join(50.0, "urgent", every_s=2.0)
        seen = await together.seen(payments)
    waits = seen["waits_s"]["urgent"]
    figures.show(f"{len(waits)} payments; {seen['errors']}")
    assert not seen["errors"]
    figures.add(
        Figure("quota, a payment beside backfill, p99", p99(waits) * 1e3, "ms", at_most=250)
    )


async def test_a_decision_takes_milliseconds(database_url: str, figures: Figures) -> None:
    """50 a second, with a window that is well filled by them. In between, what the machine makes of
    the least statement. Five rounds: a machine that is not alone hesitates now and then."""
    limits = QuotaLimits(
        calls=600, window_s=WINDOW_S, in_flight=100, credits=10_000_000, zone="UTC"
    )
    p99s: list[float] = []
    async with connect(SecretStr(database_url), size=8) as pool:
        quota = Quota(pool, {"billing": limits})
        await rehearse(pool, 8, quota.rehearse)  # a worker has opened them
        for _ in range(ROUNDS):
            times: list[float] = []
            least: list[float] = []
            began = time.monotonic()
            async with asyncio.TaskGroup() as tasks:
                for number in range(DECISIONS):
                    await asyncio.sleep(max(began + number / 50 - time.monotonic(), 0))
                    tasks.create_task(_decide(quota, times))
                    await asyncio.sleep(0.01)
                    tasks.create_task(_do_least(pool, least))
            p99s.append(p99(times))
            figures.show(f"a decision: {_of(times)}; SELECT 1: {_of(least)}")
    figures.add(Figure("quota, a decision, p99", median(p99s) * 1e3, "ms", at_most=10))


def _of(times: list[float]) -> str:
    return f"p50 {median(times) * 1e3:.1f} ms, p99 {p99(times) * 1e3:.1f} ms"


async def _decide(quota: Quota, times: list[float]) -> None:
    began = time.perf_counter()
    permit = await quota.take(
        Call("default", "billing", "list_plans", Priority.COMMANDS), write_within_s=40.0
    )
    times.append(time.perf_counter() - began)
    await quota.release(permit, QuotaFeedback())


async def _do_least(pool: asyncpg.Pool, times: list[float]) -> None:
    began = time.perf_counter()
    await pool.fetchval("SELECT 1")
    times.append(time.perf_counter() - began)
