"""Only the deaths of processes count against a message that nobody could store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from unittest.mock import AsyncMock
from uuid import uuid4

import pytest

from shared.errors import Unavailable
from shared.messaging.inbox.acceptance import Acceptance, AcceptResult
from shared.messaging.inbox.suspects import Suspects
from shared.messaging.intake.handover import (
    GIVEN_UP_AT_DEATHS,
    Handover,
    Unanswered,
    digest_of,
)
from shared.messaging.intake.validation import Validation
from shared.messaging.messages.decode import Arrival
from shared.messaging.messages.received_message import ReceivedMessage
from tests.shared.messaging.conftest import Bench, until

ARRIVAL = Arrival(
    ReceivedMessage("zoho.commands", "user.updated.v1", "m1", "default", "", b"{}"),
    deliveries=3,
    delivery_tag=1,
)
DIGEST = digest_of(ARRIVAL)


class Storing:
    """A handover whose INSERT does what a test says."""

    def __init__(self, bench: Bench) -> None:
        self.pool = bench.parts.pool
        self.suspects = Suspects(self.pool, "test")
        self.acceptance = AsyncMock(Acceptance)
        self.validation = AsyncMock(Validation)
        self.handover = Handover(
            self.validation,
            self.acceptance,
            self.suspects,
            answers=AsyncMock(return_value=True),
            unanswered_s=0.01,
        )

    def inserts(self, insert: Callable[[object], Awaitable[object]]) -> None:
        self.acceptance.accept.side_effect = insert

    async def tries(self) -> int:
        return int(await self.pool.fetchval("SELECT count(*) FROM test.suspects"))


@pytest.fixture
def storing(bench: Bench) -> Storing:
    return Storing(bench)


async def silent(_: object) -> None:
    await asyncio.Event().wait()


async def stored(_: object) -> list[AcceptResult]:
    return [AcceptResult.NEW]


async def test_an_insert_without_an_answer_is_no_death(storing: Storing) -> None:
    storing.inserts(silent)
    for _ in range(GIVEN_UP_AT_DEATHS + 1):
        with pytest.raises(Unanswered):
            await storing.handover.store_suspect(ARRIVAL)

    storing.inserts(stored)
    await storing.handover.store_suspect(ARRIVAL)

    storing.validation.given_up.assert_not_called()
    assert await storing.tries() == 0


async def test_a_silent_database_is_told_once_it_answers(storing: Storing, bench: Bench) -> None:
    async def fall_silent(_: object) -> None:
        await bench.parts.database.down()
        await asyncio.Event().wait()

    storing.inserts(fall_silent)
    with pytest.raises(Unanswered):
        await storing.handover.store_suspect(ARRIVAL)

    await bench.parts.database.up()

    async def is_forgotten() -> bool:
        return await storing.tries() == 0

    await until(is_forgotten)


@pytest.mark.parametrize(("is_held", "tries"), [(True, 0), (False, 1)])
async def test_a_stop_in_good_order_is_no_death_and_a_lost_connection_may_be_one(
    storing: Storing, is_held: bool, tries: int
) -> None:
    began = asyncio.Event()

    async def begin(_: object) -> None:
        began.set()
        await asyncio.Event().wait()

    storing.inserts(begin)
    storing.handover._unanswered_s = 60
    task = asyncio.create_task(storing.handover.store_suspect(ARRIVAL, is_held=lambda: is_held))
    await asyncio.wait_for(began.wait(), 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await storing.tries() == tries


async def test_five_deaths_give_it_up(storing: Storing) -> None:
    storing.inserts(stored)
    for _ in range(GIVEN_UP_AT_DEATHS - 1):
        await storing.suspects.note(DIGEST, uuid4())

    await storing.handover.store_suspect(ARRIVAL)

    storing.validation.given_up.assert_awaited_once()
    assert await storing.tries() == 0


async def test_a_try_whose_count_got_no_answer_counts_once(storing: Storing, bench: Bench) -> None:
    this_try = uuid4()
    bench.parts.database.lose("answer", of=DIGEST)
    with pytest.raises(Unavailable):
        await storing.suspects.note(DIGEST, this_try)

    assert await storing.tries() == 1
    assert await storing.suspects.note(DIGEST, this_try) == 1
    assert await storing.suspects.note(DIGEST, uuid4()) == 2
