"""What is only recorded waits a moment, so that others are stored with it."""

from __future__ import annotations

import pytest

from shared.contracts.commands import UserSignedUp, UserUpdated
from shared.messaging.handling.routes import Route, Routes
from shared.messaging.intake import consumer
from tests.shared.messaging.conftest import Bench, named, note

ROUTES = Routes(
    commands={
        "user.signed_up.v1": Route(UserSignedUp, note, lingers=True),
        "user.updated.v1": Route(UserUpdated, note),
    },
    unrouted=True,
)
FOR_EVER_S = 3600.0


def signed_up(user_id: str) -> UserSignedUp:
    return UserSignedUp(user_id=user_id, email=f"{user_id}@example.com", full_name=user_id)


async def groups(bench: Bench) -> list[list[str]]:
    """The routing keys that were stored by each statement, in their order."""
    rows = await bench.parts.pool.fetch(
        """
        SELECT array_agg(routing_key ORDER BY arrived) FROM test.accepted_ids
        GROUP BY accepted_at ORDER BY accepted_at
        """
    )
    return [keys for (keys,) in rows]


async def test_what_hurries_is_stored_at_once_and_takes_along_what_lingers(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "LINGER_S", FOR_EVER_S)
    await bench.start(routes=ROUTES)

    await bench.send(signed_up("u1"))
    await bench.send(named("Ada", "u2"))
    await bench.accepted_all()

    assert await groups(bench) == [["user.signed_up.v1", "user.updated.v1"]]


async def test_so_many_wait_for_no_more(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "LINGER_S", FOR_EVER_S)
    monkeypatch.setattr(consumer, "LINGER_COUNT", 3)
    await bench.start(routes=ROUTES)

    for number in range(3):
        await bench.send(signed_up(f"u{number}"))
    await bench.accepted_all()

    assert await groups(bench) == [["user.signed_up.v1"] * 3]


async def test_a_lone_one_is_stored_when_its_moment_is_over(bench: Bench) -> None:
    await bench.start(routes=ROUTES)

    await bench.send(signed_up("u1"))
    await bench.accepted_all()

    assert await groups(bench) == [["user.signed_up.v1"]]
