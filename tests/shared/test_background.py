"""Test the loop of periodic work, and waits with backoff and jitter."""

from __future__ import annotations

import asyncio
from itertools import islice

import pytest

from shared.background import PeriodicTask, repeat
from shared.errors import Unavailable
from shared.exponential_backoff import jittered_s, wait_s, waits_s

NEVER_S = 3600.0


async def test_work_goes_on_without_a_pause_while_there_is_more_to_do() -> None:
    stop, rounds = asyncio.Event(), 0

    async def work() -> bool:
        nonlocal rounds
        rounds += 1
        if rounds == 3:
            stop.set()
        return True

    await repeat("work", work, every_s=NEVER_S, stop=stop)

    assert rounds == 3


@pytest.mark.parametrize(
    "error", [Unavailable("away"), ZeroDivisionError(), asyncio.CancelledError()]
)
async def test_an_error_ends_the_round_and_not_the_loop(error: BaseException) -> None:
    stop, rounds = asyncio.Event(), 0

    async def work() -> bool:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            raise error
        stop.set()
        return False

    await repeat("work", work, every_s=0.0, stop=stop)

    assert rounds == 2


async def test_a_stop_ends_the_pause_and_lets_the_round_under_way_finish() -> None:
    stop, begun, finish = asyncio.Event(), asyncio.Event(), asyncio.Event()
    finished = False

    async def work() -> bool:
        nonlocal finished
        begun.set()
        await finish.wait()
        finished = True
        return False

    loop = asyncio.create_task(repeat("work", work, every_s=NEVER_S, stop=stop))
    await begun.wait()
    stop.set()
    assert not loop.done()

    finish.set()
    await loop

    assert finished


async def test_leaving_the_context_of_a_periodic_task_ends_it_though_a_round_swallows_it() -> None:
    class Stubborn(PeriodicTask):
        rounds = 0
        begun = asyncio.Event()

        async def _run_once(self) -> bool:
            self.rounds += 1
            self.begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return True  # as a library may do: swallowed
            return False

    async with Stubborn("stubborn", every_s=NEVER_S) as task:
        await task.begun.wait()

    assert task.rounds == 1


def test_waits_double_up_to_a_limit_and_are_uneven() -> None:
    for _ in range(100):
        waits = list(islice(waits_s(1.0, 10.0), 6))
        for wait, full in zip(waits, (1.0, 2.0, 4.0, 8.0, 10.0, 10.0), strict=True):
            assert full / 2 <= wait <= full
    assert len({jittered_s(60.0) for _ in range(10)}) > 1


@pytest.mark.parametrize(("failures", "full"), [(0, 5.0), (1, 10.0), (4, 80.0), (500, 900.0)])
def test_a_wait_after_failures_is_that_of_the_series(failures: int, full: float) -> None:
    assert full / 2 <= wait_s(failures, 5.0, 900.0) <= full
