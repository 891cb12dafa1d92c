"""Test that a worker notices a database that is older than its work, and stands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from pydantic import SecretStr

from shared.errors import StoppedBeforeStart
from shared.messaging.service.restore_watch import DatabaseRestored, RestoreWatch, gap_between
from shared.observability.metrics import Metrics
from shared.storage import pool as storage
from shared.storage.recoveries import Mark, Marks, Recoveries
from tests.kit.servers import Management


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    async with storage.connect(SecretStr(database_url), size=5) as opened:
        yield opened


class Worker:
    """As much of a worker as watches its database."""

    def __init__(self, pool: asyncpg.Pool, amqp_url: str) -> None:
        self.metrics = Metrics("billing-worker")
        self.stop = asyncio.Event()
        self.watch = RestoreWatch(
            service="billing-worker",
            schema="test",
            amqp_url=SecretStr(amqp_url),
            pool=pool,
            metrics=self.metrics,
            stop=self.stop,
        )
        self.admitted = asyncio.Event()
        self._leave = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self._run())
        try:
            yield task
        finally:
            self._leave.set()
            self.stop.set()
            await asyncio.wait([task])
            task.exception()

    async def _run(self) -> None:
        async with self.watch.admitted():
            self.admitted.set()
            await self._leave.wait()

    @property
    def stands(self) -> bool:
        labels = {"service": "billing-worker"}
        return self.metrics.registry.get_sample_value("recovery_needed", labels) == 1


async def _worked(pool: asyncpg.Pool, amqp_url: str, times: int = 1) -> None:
    """A worker runs, and stops."""
    for _ in range(times):
        worker = Worker(pool, amqp_url)
        async with worker.running(), asyncio.timeout(20):
            await worker.admitted.wait()


async def _noticed(pool: asyncpg.Pool) -> str:
    async with asyncio.timeout(20):
        while not await Recoveries(pool).awaits_answer():  # noqa: ASYNC110 - a table
            await asyncio.sleep(0.05)
    latest = await Recoveries(pool).latest()
    assert latest is not None
    return latest.reason or ""


async def _goes_back(pool: asyncpg.Pool) -> None:
    """What a restore does to the mark: it is that of the backup."""
    await pool.execute("UPDATE relay.marks SET mark = 1")


@pytest.mark.parametrize(
    ("inside", "outside", "gap"),
    [
        (None, None, False),
        (Mark(5, 0), 5, False),
        (Mark(5, 0), 3, False),  # an older broker
        (Mark(5, 0), 6, True),
        (None, 1, True),
        (Mark(5, 0), None, True),
    ],
)
def test_only_a_mark_that_is_missing_or_higher_is_a_gap(
    inside: Mark | None, outside: int | None, gap: bool
) -> None:
    assert (gap_between(inside, outside) is not None) is gap


async def test_a_worker_that_starts_again_on_the_same_database_works(
    pool: asyncpg.Pool, amqp_url: str
) -> None:
    await _worked(pool, amqp_url, times=3)

    assert await Recoveries(pool).latest() is None


async def test_an_older_database_stands_until_a_recovery_is_begun(
    pool: asyncpg.Pool, amqp_url: str
) -> None:
    await _worked(pool, amqp_url, times=2)
    await _goes_back(pool)

    worker, other = Worker(pool, amqp_url), Worker(pool, amqp_url)
    async with worker.running(), other.running():
        assert "older than the mark" in await _noticed(pool)
        async with asyncio.timeout(20):
            while not worker.stands:  # noqa: ASYNC110 - a gauge
                await asyncio.sleep(0.05)
        assert not worker.admitted.is_set()
        assert not other.admitted.is_set()
        since = await pool.fetchval("SELECT now() - interval '1 hour'")
        await Recoveries(pool).begin(since, search_s=3600, by="ada")
        async with asyncio.timeout(20):
            await worker.admitted.wait()
            await other.admitted.wait()
    await _worked(pool, amqp_url)  # and it is not asked again


@pytest.mark.chaos
async def test_a_broker_that_was_emptied_stands_until_nothing_is_said_to_be_missing(
    pool: asyncpg.Pool, amqp_url: str, amqp_management: Management
) -> None:
    await _worked(pool, amqp_url)
    name = amqp_url.rpartition("/")[2]
    amqp_management.call("DELETE", f"queues/{name}/billing-worker.mark")

    worker = Worker(pool, amqp_url)
    async with worker.running():
        assert "lost its mark" in await _noticed(pool)
        await Recoveries(pool).not_needed("ada")
        async with asyncio.timeout(20):
            await worker.admitted.wait()
    await _worked(pool, amqp_url)
    assert not await Recoveries(pool).awaits_answer()


async def test_what_is_declared_before_the_start_is_not_asked(
    pool: asyncpg.Pool, amqp_url: str
) -> None:
    await _worked(pool, amqp_url, times=2)
    await _goes_back(pool)
    since = await pool.fetchval("SELECT now() - interval '1 hour'")
    await Recoveries(pool).begin(since, search_s=3600, by="ada")

    await _worked(pool, amqp_url)

    latest = await Recoveries(pool).latest()
    assert latest is not None
    assert latest.state == "open"


async def test_a_database_that_goes_back_under_its_worker_ends_it(
    pool: asyncpg.Pool, amqp_url: str
) -> None:
    await _worked(pool, amqp_url, times=2)
    worker = Worker(pool, amqp_url)
    async with worker.running() as task:
        async with asyncio.timeout(20):
            await worker.admitted.wait()
        await _goes_back(pool)
        with pytest.raises(DatabaseRestored):
            await asyncio.wait_for(task, 20)

    assert "went back" in await _noticed(pool)


async def test_nothing_is_confirmed_by_a_database_that_went_back(
    pool: asyncpg.Pool, amqp_url: str
) -> None:
    await _worked(pool, amqp_url, times=2)
    worker = Worker(pool, amqp_url)
    async with worker.running():
        async with asyncio.timeout(20):
            await worker.admitted.wait()
        floor = worker.watch.floor()
        await worker.watch.confirm(await Marks(pool, "test").move(), floor)
        floor = worker.watch.floor()
        with pytest.raises(DatabaseRestored):
            await worker.watch.confirm(floor, floor)


async def test_a_worker_that_stands_stops_when_it_is_asked_to(
    pool: asyncpg.Pool, amqp_url: str
) -> None:
    await _worked(pool, amqp_url, times=2)
    await _goes_back(pool)
    worker = Worker(pool, amqp_url)
    async with worker.running() as task:
        await _noticed(pool)
        worker.stop.set()
        with pytest.raises(StoppedBeforeStart):
            await asyncio.wait_for(task, 20)


async def test_an_answer_is_not_undone_by_a_worker_that_was_still_comparing(
    pool: asyncpg.Pool,
) -> None:
    recoveries = Recoveries(pool)
    admitted_at = await pool.fetchval("SELECT clock_timestamp()")
    await recoveries.notice("billing-worker", "older", answered=0)
    since = await pool.fetchval("SELECT now() - interval '1 hour'")
    begun = await recoveries.begin(since, search_s=3600, by="ada")

    await recoveries.notice("crm-worker", "older", answered=0)
    await recoveries.notice("desk-worker", "went back", admitted_at=admitted_at)
    assert not await recoveries.awaits_answer()

    await recoveries.notice("crm-worker", "older", answered=begun.id)
    assert await recoveries.awaits_answer()
