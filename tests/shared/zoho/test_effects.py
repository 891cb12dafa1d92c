"""Test that an effect happens once and is remembered, unless it surely did not happen."""

import asyncio
from typing import Any

import pytest

from shared.errors import (
    Misconfigured,
    OutcomeUnknown,
    PermanentError,
    RateLimited,
    Unavailable,
    ZohoRejected,
)
from shared.zoho.call.http import Permit
from shared.zoho.effects.effects import EffectKey
from tests.shared.zoho.effects_world import WRITE_S, World, key_of


async def test_what_was_made_is_remembered_and_not_made_again(world: World) -> None:
    first = await world.make(key_of())
    second = await world.make(key_of(), replica=world.replica())

    assert first == second
    assert world.zoho.made_of(key_of()) == [first["id"]]
    assert world.permits.granted == 1  # remembering costs no call


async def test_what_is_one_users_is_not_handed_to_another_who_names_it_too(world: World) -> None:
    begun, answered = asyncio.Event(), asyncio.Event()

    async def slowly(permit: Permit) -> dict[str, Any]:
        begun.set()
        await answered.wait()
        return {"id": world.zoho.write(key_of("s1"), permit)}

    first = asyncio.ensure_future(world.make(key_of("s1"), slowly))
    await begun.wait()
    with pytest.raises(PermanentError) as meanwhile:
        await world.make(key_of("s1"), user_id="u2")
    answered.set()
    made = await first
    with pytest.raises(PermanentError) as later:
        await world.make(key_of("s1"), user_id="u2")

    assert meanwhile.value.code == later.value.code == "id_taken"
    assert world.zoho.made_of(key_of("s1")) == [made["id"]]


async def test_what_was_refused_to_one_user_another_may_have(world: World) -> None:
    async def refused(permit: Permit) -> dict[str, Any]:
        raise ZohoRejected("no", product="billing", operation="create", status=400)

    with pytest.raises(ZohoRejected):
        await world.make(key_of("s1"), refused)

    made = await world.make(key_of("s1"), user_id="u2")
    with pytest.raises(PermanentError):
        await world.make(key_of("s1"))
    assert world.zoho.made_of(key_of("s1")) == [made["id"]]


async def test_what_is_remembered_lies_sealed(world: World) -> None:
    made = await world.make(key_of())

    stored = await world.pool.fetchval("SELECT result FROM relay.effects")
    assert made["id"].encode() not in stored


async def test_keys_of_another_organization_or_operation_are_others(world: World) -> None:
    await world.make(EffectKey("default", "create_customer", "u1"))
    await world.make(EffectKey("other", "create_customer", "u1"))
    await world.make(EffectKey("default", "create_subscription", "u1"))

    assert len(world.zoho.made) == 3


@pytest.mark.parametrize(
    "refusal",
    [
        RateLimited("no", retry_after_s=1, product="billing", limit="minute"),
        Unavailable("no"),
        Misconfigured("no", product="billing", cause="scope"),
        ZohoRejected("no", product="billing", operation="create_customer", status=400),
    ],
)
async def test_what_was_surely_not_done_may_be_done_at_once(
    world: World, refusal: Exception
) -> None:
    async def refused(_permit: Permit) -> dict[str, Any]:
        raise refusal

    with pytest.raises(type(refusal)):
        await world.make(key_of(), refused)
    made = await world.make(key_of())

    assert world.zoho.made_of(key_of()) == [made["id"]]
    assert not await world.replica().any_open("default", "billing")


async def test_a_request_is_not_written_after_its_last_moment(world: World) -> None:
    async def slow(permit: Permit) -> dict[str, Any]:
        world.clock.pass_by(seconds=WRITE_S + 1)  # a paused process
        return {"id": world.zoho.write(key_of(), permit)}

    with pytest.raises(Unavailable, match="too late"):
        await world.make(key_of(), slow)
    made = await world.make(key_of())

    assert world.zoho.made_of(key_of()) == [made["id"]]


async def test_what_was_refused_is_known_and_not_done(world: World) -> None:
    async def refused(_permit: Permit) -> dict[str, Any]:
        raise Unavailable("no")

    async def lost(_permit: Permit) -> dict[str, Any]:
        raise OutcomeUnknown("no answer", search_lag_s=0)

    effects = world.replica()
    may_be_done = [await effects.may_be_done(key_of())]
    with pytest.raises(Unavailable):
        await world.make(key_of(), refused)
    may_be_done.append(await effects.may_be_done(key_of()))
    with pytest.raises(OutcomeUnknown):
        await world.make(key_of(), lost)
    may_be_done.append(await effects.may_be_done(key_of()))
    await world.make_at_last(key_of())
    may_be_done.append(await effects.may_be_done(key_of()))

    assert may_be_done == [False, False, True, True]
    assert await effects.knows(key_of())


async def test_evidence_is_dated_from_the_last_intent_not_the_first(world: World) -> None:
    async def refused(_permit: Permit) -> dict[str, Any]:
        raise Unavailable("no")

    effects = world.replica()
    assert await effects.intended_at(key_of()) is None
    with pytest.raises(Unavailable):
        await world.make(key_of(), refused)
    first = await effects.intended_at(key_of())
    world.clock.pass_by(minutes=1)
    await world.make(key_of())
    second = await effects.intended_at(key_of())

    assert first is not None
    assert second is not None
    assert first < second
