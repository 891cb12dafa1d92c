"""Watch a running worker as an operator would: its metrics, its queues, what it is sent."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import asyncpg
from prometheus_client.parser import text_string_to_metric_families

from deploy.driving.system_driver import SystemDriver
from deploy.local.ports import free_port
from tests.kit.surroundings import Surroundings


class Seen(dict[tuple[str, frozenset[tuple[str, str]]], float]):
    """A scrape."""

    def by(self, metric: str, label: str, **labels: str) -> dict[str, float]:
        """The values of the metric's series with these labels, added up by another label."""
        wanted = set(labels.items())
        values: defaultdict[str, float] = defaultdict(float)
        for (name, found), value in self.items():
            if name == metric and wanted <= set(found):
                values[dict(found)[label]] += value
        return dict(values)

    def value(self, metric: str, **labels: str) -> float:
        return sum(
            value
            for (name, found), value in self.items()
            if name == metric and set(labels.items()) <= set(found)
        )


@dataclass
class Watched:
    stage: SystemDriver
    service: str
    _database_url: str
    _port: int
    _session: aiohttp.ClientSession

    async def look(self) -> Seen:
        async with self._session.get(f"http://127.0.0.1:{self._port}/metrics") as answer:
            text = await answer.text()
        return Seen(
            {
                (sample.name, frozenset(sample.labels.items())): sample.value
                for family in text_string_to_metric_families(text)
                for sample in family.samples
            }
        )

    async def until(self, came_true: Callable[[Seen], bool], what: str) -> Seen:
        """The first scrape of which this is true."""
        try:
            async with asyncio.timeout(self.stage.patience_s):
                while True:
                    if came_true(seen := await self.look()):
                        return seen
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"{what} did not come true") from None

    async def forget_waiting(self) -> None:
        """Drop the messages that wait for a later try: what becomes of them was looked at."""
        await self._execute(
            "DELETE FROM {schema}.lines WHERE leased_until IS NULL",
            "DELETE FROM {schema}.inbox m WHERE NOT EXISTS ("
            " SELECT FROM {schema}.lines l WHERE l.leased_arrived = m.arrived)",
        )

    async def order(self, product: str, operation: str, **fault: Any) -> None:
        await self.stage.sandbox.post("faults", product=product, operation=operation, **fault)

    async def hurry(self) -> None:
        """Make due now what waits for its time."""
        await self._execute(
            "UPDATE {schema}.inbox SET due_at = now() WHERE due_at > now()",
            "UPDATE {schema}.lines SET due_at = now() WHERE state = 'later'",
        )

    async def hurry_until(self, came_true: Callable[[Seen], bool], what: str) -> None:
        """As `hurry`, also for what only goes to wait now."""
        try:
            async with asyncio.timeout(self.stage.patience_s):
                while not came_true(await self.look()):
                    await self.hurry()
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{what} did not come true") from None

    async def dead(self) -> int:
        """How many messages were given up."""
        connection = await asyncpg.connect(self._database_url)
        try:
            return int(
                await connection.fetchval(
                    f"SELECT count(*) FROM {self.schema}.dead_letters"  # noqa: S608
                )
            )
        finally:
            await connection.close()

    @property
    def schema(self) -> str:
        return self.service.removesuffix("-worker")

    async def _execute(self, *statements: str) -> None:
        connection = await asyncpg.connect(self._database_url)
        try:
            for statement in statements:
                await connection.execute(statement.format(schema=self.schema))
        finally:
            await connection.close()


@asynccontextmanager
async def watched(
    around: Surroundings,
    service: str,
    main: Callable[[Any, asyncio.Event], Awaitable[None]],
    make_settings: Callable[..., Any],
    *,
    queue: str,
    **settings: Any,
) -> AsyncIterator[Watched]:
    """Run the worker until the block is left."""
    port = free_port()
    environment = {**around.environment, "breaker_pause_s": 0.1, **settings, "metrics_port": port}
    async with (
        around.running(main, make_settings(**environment), queue=queue) as stage,
        aiohttp.ClientSession() as session,
    ):
        yield Watched(stage, service, around.environment["database_url"], port, session)
