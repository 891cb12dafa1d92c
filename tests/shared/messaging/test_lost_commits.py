"""A commit whose answer was lost, or that was never done, announces one thing once."""

from __future__ import annotations

from typing import Any, Literal

import orjson
import pytest

from shared.contracts.commands import UserUpdated
from shared.errors import PermanentError
from shared.messaging.handling.unit_of_work import UnitOfWork
from tests.shared.messaging.conftest import Bench, Handle, Listener, named, note, quicker, until

NOTES = ("first", "cut", "last")


async def refuse(message: UserUpdated, work: UnitOfWork) -> None:
    raise PermanentError("the plan is not sold any more", code="plan_unknown")


async def heard(bench: Bench, listener: Listener) -> list[dict[str, Any]]:
    """One body for each event id, once everything is settled and published."""

    async def all_published() -> bool:
        return not await bench.open_messages() and not await bench.parts.pool.fetchval(
            "SELECT count(*) FROM test.outbox WHERE published_at IS NULL"
        )

    bodies: dict[str, bytes] = {}
    while len(bodies) < len(NOTES) or not listener.messages.empty():
        await until(all_published)
        event = await listener.next()
        event_id = event.message_id or ""
        assert bodies.setdefault(event_id, event.body) == event.body, "a second content"
    return [orjson.loads(body) for body in bodies.values()]


@pytest.mark.parametrize("loses", ["request", "answer"])
@pytest.mark.parametrize("handle", [note, refuse])
async def test_a_commit_that_is_cut_leaves_no_hole_and_no_second_content(
    bench: Bench, handle: Handle, loses: Literal["request", "answer"]
) -> None:
    async def cut(message: UserUpdated, work: UnitOfWork) -> None:
        if message.full_name == "cut":
            bench.parts.database.lose_commit(loses)
        await handle(message, work)

    await bench.start({"user.updated.v1": cut}, policy=quicker(outbox_lease_s=0.2))
    listener = await bench.listen()
    for name in NOTES:
        await bench.send(named(name))
    events = await heard(bench, listener)

    assert bench.parts.database.lost == 1
    assert len(events) == len(NOTES)
    if handle is note:
        assert {event["version"]: event["note"] for event in events} == dict(enumerate(NOTES, 1))
        assert await bench.handled() == [*NOTES]
    else:
        assert len({event["message_id"] for event in events}) == len(NOTES)
        assert len(await bench.dead_letters()) == len(NOTES)
