"""Test that exactly one is made, whatever dies and whoever races."""

import asyncio
import random
from typing import Any

import pytest

from shared.errors import OutcomeUnknown, RateLimited, Unavailable
from shared.zoho.call.http import Permit
from shared.zoho.effects.effects import EffectKey
from tests.shared.zoho.effects_world import WRITE_S, Killed, World, key_of


async def test_two_replicas_that_look_at_once_act_once(world: World) -> None:
    async def killed_before(_permit: Permit) -> dict[str, Any]:
        raise Killed

    with pytest.raises(Killed):
        await world.make(key_of(), killed_before)
    world.time_passes()
    results = await asyncio.gather(
        *(world.make_at_last(key_of(), replica=world.replica()) for _ in range(8))
    )

    assert len(world.zoho.made_of(key_of())) == 1
    assert {result["id"] for result in results} == set(world.zoho.made_of(key_of()))


async def test_two_replicas_that_begin_at_once_act_once(world: World) -> None:
    results = await asyncio.gather(
        *(world.make_at_last(key_of(), replica=world.replica()) for _ in range(8))
    )

    assert len(world.zoho.made_of(key_of())) == 1
    assert len({result["id"] for result in results}) == 1


async def test_a_holder_whose_answer_comes_late_takes_what_another_found(world: World) -> None:
    others: list[dict[str, Any]] = []

    async def late(permit: Permit) -> dict[str, Any]:
        made = world.zoho.write(key_of(), permit)
        world.time_passes()
        others.append(await world.make_at_last(key_of(), replica=world.replica()))
        return {"id": made}

    mine = await world.make(key_of(), late)

    assert mine == others[0]
    assert len(world.zoho.made_of(key_of())) == 1


FATES = (
    "answered",
    "killed before the request",
    "killed after the request",
    "answer lost, done",
    "answer lost, not done",
    "refused",
    "unreadable answer",
    "process paused, written too late",
)


async def one_life(world: World, key: EffectKey, chance: random.Random) -> str:
    """Replicas come and go until one of them knows what was made."""

    async def act(permit: Permit) -> dict[str, Any]:
        match chance.choice(FATES):
            case "killed before the request":
                raise Killed
            case "killed after the request":
                world.zoho.write(key, permit)
                raise Killed
            case "answer lost, done":
                world.zoho.write(key, permit)
                raise OutcomeUnknown("no answer", search_lag_s=0)
            case "answer lost, not done":
                raise OutcomeUnknown("no answer", search_lag_s=0)
            case "refused":
                raise RateLimited("no", retry_after_s=0, product="billing", limit="minute")
            case "unreadable answer":
                world.zoho.write(key, permit)
                raise KeyError("customer")
            case "process paused, written too late":
                world.clock.pass_by(seconds=WRITE_S + 1)
                return {"id": world.zoho.write(key, permit)}
            case _:
                return {"id": world.zoho.write(key, permit)}

    while True:
        try:
            return str((await world.make(key, act, replica=world.replica()))["id"])
        except OutcomeUnknown as unknown:
            # A redelivery, a lapsed lease or another replica comes at any time, also too early.
            world.clock.pass_by(seconds=chance.uniform(0, unknown.search_lag_s * 1.5))
        except (Killed, RateLimited, KeyError, Unavailable):
            continue


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_dies_and_whoever_races_there_is_exactly_one(
    world: World, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311
    # Each with a clock of its own: time passes for those who race, and not for others.
    worlds = {key_of(f"u{n}"): World(world.pool, world.vault) for n in range(60)}

    lives = [
        one_life(own, key, chance)
        for key, own in worlds.items()
        for _ in range(chance.randint(1, 3))
    ]
    await asyncio.gather(*lives)

    made = [own.zoho.made_of(key) for key, own in worlds.items()]
    assert [len(ids) for ids in made] == [1] * len(worlds)
    assert not await world.replica().any_open("default")
