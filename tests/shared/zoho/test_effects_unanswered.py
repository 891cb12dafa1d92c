"""Test that what may have been made is looked for before anybody makes it again."""

from typing import Any

import pytest

from shared.errors import OutcomeUnknown, PermanentError, ZohoRejected
from shared.zoho.call.http import Permit
from shared.zoho.effects.effects import Absence
from tests.shared.zoho.effects_world import (
    SEARCH_LAG_S,
    TIMEOUT_S,
    Killed,
    World,
    key_of,
)


async def test_a_lost_answer_is_looked_for_before_acting_again(world: World) -> None:
    async def lost(permit: Permit) -> dict[str, Any]:
        world.zoho.write(key_of(), permit)
        raise OutcomeUnknown("no answer", search_lag_s=0)

    with pytest.raises(OutcomeUnknown) as unknown:
        await world.make(key_of(), lost)
    assert unknown.value.search_lag_s == TIMEOUT_S + SEARCH_LAG_S
    with pytest.raises(OutcomeUnknown):  # too early to look
        await world.make(key_of())
    assert await world.replica().any_open("default")
    world.time_passes()
    made = await world.make_at_last(key_of())

    assert world.zoho.made_of(key_of()) == [made["id"]]
    assert world.reconciled("yes") == 1


async def test_what_nobody_comes_back_for_stops_others_for_an_hour_only(world: World) -> None:
    async def lost(_permit: Permit) -> dict[str, Any]:
        raise OutcomeUnknown("no answer", search_lag_s=0)

    with pytest.raises(OutcomeUnknown):
        await world.make(key_of(), lost)
    world.clock.pass_by(seconds=TIMEOUT_S + SEARCH_LAG_S, minutes=59)
    assert await world.replica().any_open("default", "billing")
    world.clock.pass_by(minutes=2)
    assert not await world.replica().any_open("default", "billing")

    await world.make(key_of())  # replayed, it is looked for all the same
    assert world.reconciled("no") == 1


async def test_what_is_surely_absent_is_made_again(world: World) -> None:
    async def never_arrived(_permit: Permit) -> dict[str, Any]:
        raise OutcomeUnknown("no answer", search_lag_s=0)

    with pytest.raises(OutcomeUnknown):
        await world.make(key_of(), never_arrived)
    made = await world.make_at_last(key_of())

    assert world.zoho.made_of(key_of()) == [made["id"]]
    assert world.reconciled("no") == 1


async def test_nobody_looks_before_the_request_of_a_dead_process_has_settled(world: World) -> None:
    last_moments: list[float] = []
    looked: list[str] = []

    async def killed(permit: Permit) -> dict[str, Any]:
        last_moments.append(permit.write_until)
        world.zoho.write(key_of(), permit)
        raise Killed

    async def find() -> dict[str, str] | None:
        looked.append("too early")
        return world.zoho.search(key_of())

    with pytest.raises(Killed):
        await world.make(key_of(), killed)
    with pytest.raises(OutcomeUnknown) as unknown:
        await world.make(key_of(), find=find)
    may_look_at = world.clock.seconds + unknown.value.search_lag_s

    assert looked == []
    assert may_look_at >= last_moments[0] + TIMEOUT_S + SEARCH_LAG_S
    world.time_passes()
    made = await world.make(key_of())
    assert world.zoho.made_of(key_of()) == [made["id"]]
    assert world.reconciled("yes") == 1


async def test_money_that_may_have_moved_is_not_moved_again(world: World) -> None:
    async def lost(permit: Permit) -> dict[str, Any]:
        raise OutcomeUnknown("no answer", search_lag_s=0)

    with pytest.raises(OutcomeUnknown):
        await world.make(key_of(), lost, money=True)
    with pytest.raises(PermanentError) as given_up:
        await world.make_at_last(key_of(), money=True)
    with pytest.raises(PermanentError) as replayed:
        await world.make_at_last(key_of(), money=True)

    assert given_up.value.code == replayed.value.code == "outcome_unknown"
    assert world.zoho.made_of(key_of()) == []
    assert world.reconciled("unknown") == 1


async def test_money_that_we_are_not_let_look_for_is_not_moved_again(world: World) -> None:
    async def lost(permit: Permit) -> dict[str, Any]:
        raise OutcomeUnknown("no answer", search_lag_s=0)

    async def not_let() -> None:
        raise ZohoRejected("no", product="billing", operation="list_payments", status=405)

    with pytest.raises(OutcomeUnknown):
        await world.make(key_of(), lost, money=True)
    with pytest.raises(PermanentError) as given_up:
        await world.make_at_last(key_of(), find=not_let, money=True)
    with pytest.raises(PermanentError) as replayed:
        await world.make_at_last(key_of(), money=True)

    assert given_up.value.code == replayed.value.code == "outcome_unknown"
    assert world.zoho.made_of(key_of()) == []
    assert world.reconciled("unknown") == 1


async def test_money_is_moved_again_when_the_first_try_surely_failed(world: World) -> None:
    async def lost(permit: Permit) -> dict[str, Any]:
        raise OutcomeUnknown("no answer", search_lag_s=0)

    async def declined() -> Absence:
        return Absence.PROVEN

    with pytest.raises(OutcomeUnknown):
        await world.make(key_of(), lost, money=True)
    made = await world.make_at_last(key_of(), find=declined, money=True)

    assert world.zoho.made_of(key_of()) == [made["id"]]
