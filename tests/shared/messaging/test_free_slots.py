"""Where a slot is free, a message is leased as it is stored. What waits for a slot comes first."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import pytest

from shared.contracts.commands import UserUpdated
from shared.messaging.dispatch.held_slots import HeldSlots
from shared.messaging.dispatch.slots import Slots
from shared.messaging.handling.routes import MessagePriority
from shared.messaging.handling.settlement import Done
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.messaging.inbox.arrived_message import ArrivedMessage
from shared.messaging.inbox.leasing_at_once import NO_OFFER
from shared.messaging.inbox.lines import Lease, Lines
from tests.shared.messaging.conftest import Bench, named, note, quicker


class _Leases:
    """Counts the leases that are asked for, and holds them up while a test wants that."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked = 0
        self.held = asyncio.Event()
        self.may_go = asyncio.Event()
        self.may_go.set()
        original = Lines.lease

        async def lease(lines: Lines, **how: Any) -> Lease:
            self.asked += 1
            if not self.may_go.is_set():
                self.held.set()
                await self.may_go.wait()
            return await original(lines, **how)

        monkeypatch.setattr(Lines, "lease", lease)


def test_a_group_of_all_priorities_is_offered_what_is_free_and_no_more() -> None:
    slots = Slots(32)
    group = [
        ArrivedMessage("default", "zoho.commands", "any.v1", f"m{at}", b"", priority=at % 3)
        for at in range(96)
    ]

    held = HeldSlots(
        slots, group, NO_OFFER.terms, fits=lambda _: True, start_one=lambda _: slots.take(0)
    )

    assert sum(held.wanted) == slots.taken <= 32
    assert slots.shares()[MessagePriority.BACKFILL] == 1  # that is kept for it
    assert held.give_back()
    assert slots.free == 32


async def test_messages_of_a_quiet_service_are_leased_as_they_are_stored(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases = _Leases(monkeypatch)
    await bench.start({"user.updated.v1": note})
    await bench.send(named("Ada", "first"))
    assert await bench.next_settlement() == Done()
    before = leases.asked

    for number in range(8):
        await bench.send(named("Ada", f"user-{number}"))
        assert await bench.next_settlement() == Done()

    assert leases.asked - before <= 1  # the first message may still have woken somebody


async def test_what_waits_for_a_slot_is_begun_before_what_arrives_now(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases = _Leases(monkeypatch)
    began: asyncio.Queue[str] = asyncio.Queue()
    may_end = {user: asyncio.Event() for user in ("holds", "waits", "new")}

    async def handle(message: UserUpdated, _: UnitOfWork) -> None:
        began.put_nowait(message.user_id)
        await may_end[message.user_id].wait()

    await bench.start({"user.updated.v1": handle}, policy=quicker(slots=1))
    await bench.send(named("Ada", "holds"))
    assert await began.get() == "holds"
    await bench.send(named("Bob", "waits"))
    await bench.accepted_all()
    leases.may_go.clear()
    may_end["holds"].set()  # its slot is free, and the lease that will fill it is held up
    await asyncio.wait_for(leases.held.wait(), 20)

    await bench.send(named("Cid", "new"))
    await bench.accepted_all()
    leases.may_go.set()

    assert await began.get() == "waits"
    may_end["waits"].set()
    assert await began.get() == "new"
    may_end["new"].set()
    assert [await bench.next_settlement() for _ in range(3)] == [Done()] * 3


@pytest.mark.parametrize("loses", ["request", "answer"])
async def test_what_is_leased_as_it_is_stored_is_begun_once_though_the_connection_is_cut(
    bench: Bench, loses: Literal["request", "answer"]
) -> None:
    began: list[str] = []

    async def handle(message: UserUpdated, work: UnitOfWork) -> None:
        began.append(message.user_id)
        await note(message, work)

    await bench.start({"user.updated.v1": handle}, policy=quicker(lease_s=1.0))
    await bench.send(named("Ada", "first"))
    assert await bench.next_settlement() == Done()
    bench.parts.database.lose(loses, of=b"user:cut")

    await bench.send(named("Bob", "cut"))

    assert await bench.next_settlement() == Done()
    assert bench.parts.database.lost == 1
    assert began == ["first", "cut"]
    assert await bench.open_messages() == 0
