"""Large bodies are worked on a few at a time, so that a process holds a few of them."""

from __future__ import annotations

import asyncio

import pytest

from shared.contracts.commands import UserUpdated
from shared.errors import NotYetKnown, PermanentError
from shared.messaging.dispatch.attempt import LARGE_AT_ONCE
from shared.messaging.handling.settlement import Done, GiveUp, WaitForFact
from shared.messaging.handling.unit_of_work import UnitOfWork
from tests.shared.messaging.conftest import Bench, named

_SPACE = b" " * 100_000  # JSON may have it behind its end


def _large(name: str, user_id: str) -> bytes:
    return named(name, user_id).model_dump_json(exclude_unset=True).encode() + _SPACE


async def test_a_few_are_worked_on_at_once_and_small_ones_beside_them(bench: Bench) -> None:
    began: list[str] = []
    all_began = asyncio.Event()
    go_on = asyncio.Event()

    async def handle(message: UserUpdated, _: UnitOfWork) -> None:
        began.append(message.user_id)
        if len(began) == LARGE_AT_ONCE:
            all_began.set()
        if message.user_id.startswith("large"):
            await go_on.wait()

    await bench.start({"user.updated.v1": handle})
    for number in range(6):
        await bench.send(_large("Ada", f"large-{number}"), routing_key="user.updated.v1")
    await asyncio.wait_for(all_began.wait(), 20)
    await bench.send(named("Bob", "small"))
    assert await bench.next_settlement() == Done()
    assert len(began) == LARGE_AT_ONCE + 1
    assert began[-1] == "small"

    go_on.set()

    assert [await bench.next_settlement() for _ in range(6)] == [Done()] * 6


SIZES = [1_000, 4_000, 5_000, 60_000, 65_000, 66_000, 1_500_000]


@pytest.mark.parametrize("size", SIZES)
async def test_one_whose_wait_ends_keeps_its_body(bench: Bench, size: int) -> None:
    async def handle(message: UserUpdated, _: UnitOfWork) -> None:
        raise NotYetKnown("no such user", key=message.user_id)

    body = named("Ada").model_dump_json(exclude_unset=True).encode().ljust(size)
    await bench.start({"user.updated.v1": handle})
    await bench.send(body, routing_key="user.updated.v1")
    assert await bench.next_settlement() == WaitForFact("user", "u1")

    await bench.parts.pool.execute("UPDATE test.inbox SET end_s = 0, check_at = now()")

    assert isinstance(await bench.next_settlement(), GiveUp)
    assert await bench.open(await bench.dead_letter()) == body


@pytest.mark.parametrize("size", SIZES)
async def test_one_that_is_given_up_keeps_its_body(bench: Bench, size: int) -> None:
    async def handle(_: UserUpdated, __: UnitOfWork) -> None:
        raise PermanentError("no", code="no")

    body = named("Ada").model_dump_json(exclude_unset=True).encode().ljust(size)
    await bench.start({"user.updated.v1": handle})
    await bench.send(body, routing_key="user.updated.v1")

    assert isinstance(await bench.next_settlement(), GiveUp)
    assert await bench.open(await bench.dead_letter()) == body
