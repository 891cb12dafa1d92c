"""Watch a running worker as an operator would: its metrics, its queues, what it is sent."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from deploy.driving.system_driver import SystemDriver
from deploy.local.ports import free_port
from tests.kit.surroundings import Surroundings

_RETRIES = ("5s", "1m", "15m", "3h")


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

    async def forget_retries(self) -> None:
        """Empty the queues of later tries: what waits there was looked at."""
        channel = await self.stage._connection.channel()
        for delay in _RETRIES:
            queue = await channel.get_queue(f"{self.service}.retry.{delay}", ensure=False)
            await queue.purge()
        await channel.close()

    async def order(self, product: str, operation: str, **fault: Any) -> None:
        await self.stage.sandbox.post("faults", product=product, operation=operation, **fault)

    async def hurry(self, delay: str) -> None:
        """Bring back now what waits in a queue of later tries, as its time would."""
        name = f"{self.service}.retry.{delay}"
        channel = await self.stage._connection.channel()
        queue = await channel.get_queue(name, ensure=False)
        while message := await queue.get(fail=False):
            await channel.default_exchange.publish(message, message.routing_key or "")
            await message.ack()
        await channel.close()

    async def hurry_until(self, delay: str, came_true: Callable[[Seen], bool], what: str) -> None:
        """As `hurry`, also for what was still on its way there."""
        try:
            async with asyncio.timeout(self.stage.patience_s):
                while not came_true(await self.look()):
                    await self.hurry(delay)
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{what} did not come true") from None

    async def dead(self, queue: str) -> int:
        declared = await self.stage.channel.declare_queue(f"{queue}.dead", passive=True)
        return int(declared.declaration_result.message_count or 0)


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
        yield Watched(stage, service, port, session)
