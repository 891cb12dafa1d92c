"""Test at random that nothing which the broker lets through harms what is beside it."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.contracts.commands import COMMANDS
from shared.messaging.handling.routes import Route, Routes
from tests.kit.fuzzing import cases
from tests.shared.messaging.conftest import Bench, named, note, quicker, until
from tests.shared.messaging.odd_messages import OddMessage, odd_messages
from tests.shared.messaging.raw_publisher import RawPublisher

_ERRORS = Path(__file__).parents[3] / "docs" / "errors.md"
_AT_ONCE = 12


async def test_what_the_broker_lets_through_is_done_or_given_up_and_harms_nothing_else(
    bench: Bench, amqp_url: str
) -> None:
    routes = Routes(
        commands={"user.updated.v1": Route(COMMANDS["user.updated.v1"], note)}, unrouted=True
    )
    # Drawing takes longer than the broker waits for a heartbeat.
    batches = await asyncio.to_thread(_batches)
    messaging = await bench.start(routes=routes, policy=quicker(outbox_lease_s=1.0))
    links = [messaging._intake_link._connection, messaging._sending.publisher._link._connection]

    async with RawPublisher(amqp_url) as publisher:
        for number, batch in enumerate(batches):
            good = [f"good {number}.{at}" for at in range(len(batch))]
            for name, odd in zip(good, batch, strict=True):
                await bench.send(named(name, name))
                bench.sent += await publisher.publish(odd.routing_key, odd.body, odd.properties)
            await bench.accepted_all()
            await until(partial(_is_done, bench, good))

    await until(partial(_is_still, bench))
    assert {letter.code for letter in await bench.dead_letters()} <= _documented()
    assert links == [
        messaging._intake_link._connection,
        messaging._sending.publisher._link._connection,
    ]
    assert messaging._dispatcher._slots.free == quicker().slots
    assert await messaging.ready()


def _batches() -> list[list[OddMessage]]:
    """Drawn beforehand: what one run leaves behind must not decide about the next one."""
    batches: list[list[OddMessage]] = []

    @settings(
        max_examples=cases(8, 400),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(batch=st.lists(odd_messages(), min_size=_AT_ONCE, max_size=_AT_ONCE))
    def draw(batch: list[OddMessage]) -> None:
        batches.append(batch)

    draw()
    return batches


async def _is_done(bench: Bench, notes: list[str]) -> bool:
    return set(notes) <= set(await bench.handled())


async def _is_still(bench: Bench) -> bool:
    """Nothing is open, and everything that was announced is published."""
    pending = await bench.parts.pool.fetchval(
        "SELECT count(*) FROM test.outbox WHERE published_at IS NULL"
    )
    return not pending and not await bench.open_messages()


def _documented() -> set[str]:
    return set(re.findall(r"^\| `(\w+)` \|", _ERRORS.read_text(), re.M))
