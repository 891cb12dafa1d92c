"""Test that after a restore what the journal has forgotten is looked for before it is done."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.business_time import happened_at
from shared.errors import OutcomeUnknown, PermanentError, Postponed
from shared.storage.recoveries import Recoveries, Recovery
from shared.zoho.call.http import Permit
from shared.zoho.effects.effects import Absence, EffectKey, Effects
from shared.zoho.effects.open_effects import OpenEffects
from tests.shared.zoho.effects_world import (
    SEARCH_LAG_S,
    TIMEOUT_S,
    WRITE_S,
    Killed,
    World,
    key_of,
)

_DAY_S = 86_400.0


async def _restored(world: World) -> Recovery:
    """The journal is that of a backup without a single effect, and an operator has said so."""
    await world.pool.execute("DELETE FROM relay.effects")
    return await _begun(world)


async def _begun(world: World) -> Recovery:
    now = world.clock() or datetime.now(UTC)
    since = now - timedelta(hours=3)
    return await Recoveries(world.pool, world.clock).begin(since, search_s=_DAY_S, by="ada")


async def test_what_was_made_before_the_restore_is_found_and_adopted(world: World) -> None:
    made = await world.make(key_of())
    await _restored(world)

    adopted = await world.make_at_last(key_of())

    assert adopted == made
    assert world.zoho.made_of(key_of()) == [made["id"]]


async def test_nobody_looks_before_searches_show_what_was_under_way(world: World) -> None:
    await world.make(key_of())
    await _restored(world)

    with pytest.raises(OutcomeUnknown) as waits:
        await world.make(key_of())

    assert waits.value.search_lag_s == pytest.approx(WRITE_S + TIMEOUT_S + SEARCH_LAG_S, abs=1)


async def test_what_is_absent_is_made_once_by_two_replicas(world: World) -> None:
    await _restored(world)

    first, second = await asyncio.gather(world.make_at_last(key_of()), world.make_at_last(key_of()))

    assert first == second
    assert world.zoho.made_of(key_of()) == [first["id"]]


async def test_a_lost_answer_and_a_kill_in_the_recovery_make_no_second_one(world: World) -> None:
    await _restored(world)

    async def lost(permit: Permit) -> dict[str, Any]:
        world.zoho.write(key_of(), permit)
        raise OutcomeUnknown("no answer", search_lag_s=0)

    async def killed_looking() -> dict[str, Any]:
        raise Killed

    with pytest.raises(OutcomeUnknown):
        await world.make(key_of())
    world.time_passes()
    with pytest.raises(Killed):
        await world.make(key_of(), find=killed_looking)
    with pytest.raises(OutcomeUnknown):
        await world.make(key_of(), lost)
    made = await world.make_at_last(key_of())

    assert world.zoho.made_of(key_of()) == [made["id"]]


async def test_what_was_refused_before_the_backup_may_have_been_made_after_it(
    world: World,
) -> None:
    async def refused(_permit: Permit) -> dict[str, Any]:
        raise Postponed("not now", retry_after_s=1)

    with pytest.raises(Postponed):
        await world.make(key_of(), refused)
    world.zoho.made.append((key_of().business_id, "made meanwhile", world.clock.seconds))
    await _begun(world)

    assert await world.make_at_last(key_of()) == {"id": "made meanwhile"}


async def test_what_was_open_in_the_backup_may_have_been_made_again_just_before_the_restore(
    world: World,
) -> None:
    async def lost(_permit: Permit) -> dict[str, Any]:
        raise OutcomeUnknown("no answer", search_lag_s=0)

    with pytest.raises(OutcomeUnknown):
        await world.make(key_of(), lost)
    world.clock.pass_by(hours=4)
    shows_at = world.clock.seconds + TIMEOUT_S + SEARCH_LAG_S
    world.zoho.made.append((key_of().business_id, "made at last", shows_at))
    await _begun(world)

    assert await world.make_at_last(key_of()) == {"id": "made at last"}
    assert len(world.zoho.made_of(key_of())) == 1


async def test_a_lost_answer_of_after_the_restore_is_looked_for_as_ever(world: World) -> None:
    recovery = await _restored(world)
    assert recovery.begun_at is not None
    world.clock.pass_by(hours=1)

    async def lost(permit: Permit) -> dict[str, Any]:
        world.zoho.write(key_of(), permit)
        raise OutcomeUnknown("no answer", search_lag_s=0)

    with happened_at(world.clock()):
        with pytest.raises(OutcomeUnknown):
            await world.make(key_of(), lost)
        made = await world.make_at_last(key_of())

    assert world.zoho.made_of(key_of()) == [made["id"]]


@pytest.mark.parametrize("since", ["before the backup", "after the restore"])
async def test_money_that_a_person_has_seen_was_not_moved_is_moved(
    world: World, since: str
) -> None:
    async def lost(_permit: Permit) -> dict[str, Any]:
        raise OutcomeUnknown("no answer", search_lag_s=0)

    if since == "after the restore":
        await _restored(world)
    with pytest.raises(PermanentError):
        await world.make_at_last(key_of(), act=lost, money=True)
    if since == "before the backup":
        await _begun(world)

    key = key_of()
    assert await OpenEffects(world.pool).did_not_happen(key.org, key.operation, key.business_id)
    moved = await world.make(key, money=True)

    assert world.zoho.made_of(key) == [moved["id"]]


async def test_what_was_absent_and_then_refused_is_not_looked_for_again(world: World) -> None:
    await _restored(world)
    looks = 0

    async def search() -> None:
        nonlocal looks
        looks += 1

    async def refused(_permit: Permit) -> dict[str, Any]:
        raise Postponed("not now", retry_after_s=1)

    with pytest.raises(Postponed):
        await world.make_at_last(key_of(), act=refused, find=search)
    await world.make(key_of(), find=search)

    assert looks == 1


async def test_money_that_was_moved_is_adopted(world: World) -> None:
    moved = await world.make(key_of(), money=True)
    await _restored(world)

    assert await world.make_at_last(key_of(), money=True) == moved
    assert world.zoho.made_of(key_of()) == [moved["id"]]


async def test_money_of_which_nothing_is_found_is_not_moved(world: World) -> None:
    await _restored(world)

    with pytest.raises(PermanentError) as unknown:
        await world.make_at_last(key_of(), money=True)

    assert unknown.value.code == "outcome_unknown"
    assert world.zoho.made == []


async def test_money_that_was_surely_not_moved_is_moved_once(world: World) -> None:
    await _restored(world)

    async def proven() -> Absence:
        return Absence.PROVEN

    moved = await world.make_at_last(key_of(), money=True, find=proven)
    await world.make(key_of(), money=True)

    assert world.zoho.made_of(key_of()) == [moved["id"]]


async def test_what_happened_after_the_restore_is_done_at_once(world: World) -> None:
    recovery = await _restored(world)
    assert recovery.begun_at is not None

    with happened_at(recovery.begun_at + timedelta(minutes=11)):
        moved = await world.make(key_of(), money=True)
    assert world.zoho.made_of(key_of()) == [moved["id"]]

    with happened_at(recovery.begun_at + timedelta(minutes=9)), pytest.raises(OutcomeUnknown):
        await world.make(key_of("u2"))  # the clocks may differ


async def test_a_recovery_ends_once_its_time_is_over_and_all_is_settled(world: World) -> None:
    await _restored(world)
    recoveries = Recoveries(world.pool, world.clock)
    with pytest.raises(OutcomeUnknown):
        await world.make(key_of())
    assert not await recoveries.end_settled()  # its time is not over

    world.clock.pass_by(seconds=_DAY_S)
    assert not await recoveries.end_settled()  # something is still looked for
    await world.make(key_of("u2"))  # which was not looked for
    await world.make(key_of())
    assert await recoveries.end_settled()

    assert await recoveries.searched() is None


async def test_a_recovery_begun_again_looks_from_the_earlier_backup(world: World) -> None:
    first = await _begun(world)
    assert first.since is not None
    again = await Recoveries(world.pool, world.clock).begin(
        first.since + timedelta(hours=1), search_s=_DAY_S, by="ada"
    )

    assert again.since == first.since
    assert again.id > first.id


class _WentBack:
    """A mark that did not rise."""

    schema = "billing"

    def floor(self) -> int:
        return 5

    async def confirm(self, mark: int | None, floor: int) -> None:
        assert (mark, floor) == (3, 5)
        raise Postponed("the database went back", retry_after_s=1)


async def test_nothing_is_asked_of_zoho_once_the_database_went_back(world: World) -> None:
    await world.pool.execute(
        "INSERT INTO relay.marks (schema, mark, moved_at) VALUES ('billing', 2, now())"
    )
    replica = Effects(
        world.pool,
        world.vault,
        world.permits,  # type: ignore[arg-type]
        world.metrics,
        work_mark=_WentBack(),
        clock=world.clock,
    )

    with pytest.raises(Postponed):
        await world.make(key_of(), replica=replica)

    assert world.zoho.made == []
    key: EffectKey = key_of()
    assert not await replica.may_be_done(key)
