"""What is accepted, settled or over wakes the dispatcher, which would look for it only later."""

from __future__ import annotations

import asyncio

import pytest

from shared.contracts.commands import UserUpdated
from shared.errors import LookAgain, NotYetKnown, PermanentError, Postponed
from shared.messaging.dispatch import wakeup
from shared.messaging.handling.settlement import (
    Done,
    GiveUp,
    LookLater,
    Postpone,
    Settlement,
    WaitForFact,
)
from shared.messaging.handling.unit_of_work import UnitOfWork
from tests.shared.messaging.conftest import Bench, named, quicker

pytestmark = pytest.mark.usefixtures("never_looks")


@pytest.fixture
def never_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The dispatcher does not ask by itself within a test."""
    monkeypatch.setattr(wakeup, "POLL_S", 3600.0)
    monkeypatch.setattr(wakeup, "IDLE_POLL_S", 3600.0)


class Held:
    """A handler whose first message stays in hand until it is let go."""

    def __init__(self, error: Exception | None = None) -> None:
        self.began = asyncio.Event()
        self.go_on = asyncio.Event()
        self._error = error

    async def __call__(self, message: UserUpdated, work: UnitOfWork) -> None:
        if self.began.is_set():
            return
        self.began.set()
        await self.go_on.wait()
        if self._error is not None:
            raise self._error


async def settlements(bench: Bench, count: int) -> list[Settlement]:
    return [await bench.next_settlement() for _ in range(count)]


async def test_what_is_accepted(bench: Bench) -> None:
    await bench.start()

    await bench.send(named("Ada"))

    assert await bench.next_settlement() == Done()


@pytest.mark.parametrize(
    ("error", "settlement"),
    [
        (None, Done),
        (PermanentError("no", code="no"), GiveUp),
        (LookAgain("nobody records it", retry_after_s=3600.0), LookLater),  # it leaves its line
    ],
)
async def test_the_next_of_a_line(
    bench: Bench, error: Exception | None, settlement: type[Settlement]
) -> None:
    handle = Held(error)
    await bench.start({"user.updated.v1": handle})
    for name in ("first", "second"):
        await bench.send(named(name))
    await asyncio.wait_for(handle.began.wait(), 20)
    await bench.accepted_all()

    handle.go_on.set()

    first, second = await settlements(bench, 2)
    assert isinstance(first, settlement)
    assert second == Done()


@pytest.mark.parametrize("slots", [1, 8])
async def test_what_there_was_no_slot_for(bench: Bench, slots: int) -> None:
    """Of eight, one is kept for payments: it stays free, and commands wait for another."""
    go_on = asyncio.Event()

    async def handle(_: UserUpdated, __: UnitOfWork) -> None:
        await go_on.wait()

    await bench.start({"user.updated.v1": handle}, policy=quicker(slots=slots))
    for number in range(slots + 2):
        await bench.send(named("Ada", f"u{number}"))
    await bench.accepted_all()

    go_on.set()

    assert await settlements(bench, slots + 2) == [Done()] * (slots + 2)


async def test_who_waits_for_what_was_recorded(bench: Bench) -> None:
    is_known = False

    async def handle(message: UserUpdated, work: UnitOfWork) -> None:
        nonlocal is_known
        if message.user_id == "u1":
            is_known = True
            work.record_fact("user", "u1")
        elif not is_known:
            raise NotYetKnown("not yet", key="u1")

    await bench.start({"user.updated.v1": handle})
    await bench.send(named("waits", "u2"))
    assert isinstance(await bench.next_settlement(), WaitForFact)

    await bench.send(named("records", "u1"))

    assert await settlements(bench, 2) == [Done()] * 2


@pytest.mark.parametrize(
    ("error", "settlement"),
    [
        (Postponed("not its turn", retry_after_s=0.05), Postpone),
        (LookAgain("nobody records it", retry_after_s=0.05), LookLater),
    ],
)
async def test_the_end_of_a_wait(
    bench: Bench, error: Exception, settlement: type[Settlement]
) -> None:
    handle = Held(error)
    handle.go_on.set()
    await bench.start({"user.updated.v1": handle})

    await bench.send(named("Ada"))

    first, second = await settlements(bench, 2)
    assert isinstance(first, settlement)
    assert second == Done()
