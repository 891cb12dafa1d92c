"""What is made once is made once, whatever dies and whoever races."""

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr

from shared.crypto.envelope import DataKeys, User, Vault
from shared.crypto.keyring import KeyRing, fresh_key
from shared.errors import (
    Misconfigured,
    OutcomeUnknown,
    PermanentError,
    RateLimited,
    Unavailable,
    ZohoRejected,
)
from shared.observability.metrics import Metrics
from shared.storage import pool as storage
from shared.storage.migrations import migrate
from shared.zoho.effects import Absence, EffectKey, Effects
from shared.zoho.http import Permit
from shared.zoho.lanes import Lane

WRITE_S, TIMEOUT_S, SETTLE_S = 0.3, 0.1, 0.1
WHOLE_WAIT_S = WRITE_S + TIMEOUT_S + SETTLE_S


class Killed(BaseException):
    """The process died here: nothing after this line ran."""


@dataclass
class Zoho:
    """A Zoho that works as slowly, and whose searches lag as long, as an operation may claim.

    `fate` says what happens to each request written: answered, lost, killed before or after.
    """

    made: list[tuple[str, str, float]] = field(default_factory=list)  # key, id, visible from
    ids: Any = field(default_factory=lambda: itertools.count(4_000_000_000_000_000_001))
    seed: random.Random = field(default_factory=lambda: random.Random(7))  # noqa: S311

    def write(self, key: EffectKey, permit: Permit) -> str:
        if time.monotonic() > permit.write_until:  # as ZohoHttp does
            raise Unavailable("too late to be written", code="too_late")
        worked = self.seed.uniform(0, TIMEOUT_S) + self.seed.uniform(0, SETTLE_S)
        made = str(next(self.ids))
        self.made.append((key.business_id, made, time.monotonic() + worked))
        return made

    def search(self, key: EffectKey) -> dict[str, str] | None:
        now = time.monotonic()
        for business_id, made, visible_from in self.made:
            if business_id == key.business_id and visible_from <= now:
                return {"id": made}
        return None

    def made_of(self, key: EffectKey) -> list[str]:
        return [made for business_id, made, _ in self.made if business_id == key.business_id]


class Permits:
    """Stands where ZohoHttp does: it grants at once."""

    def __init__(self) -> None:
        self.granted = 0

    @asynccontextmanager
    async def permit(
        self, product: str, *, org: str, lane: Lane, **_more: object
    ) -> AsyncIterator[Permit]:
        self.granted += 1
        yield Permit(
            id=self.granted,
            product="billing",
            org=org,
            lane=lane,
            weight=1,
            write_until=time.monotonic() + 30,
            deadline=time.monotonic() + 60,
        )


@dataclass
class World:
    pool: asyncpg.Pool
    vault: Vault
    zoho: Zoho = field(default_factory=Zoho)
    metrics: Metrics = field(default_factory=lambda: Metrics("test"))
    permits: Permits = field(default_factory=Permits)

    def replica(self) -> Effects:
        return Effects(
            self.pool,
            self.vault,
            self.permits,  # type: ignore[arg-type]
            self.metrics,
            write_s=WRITE_S,
            timeout_s=TIMEOUT_S,
        )

    async def make(
        self,
        key: EffectKey,
        act: Callable[[Permit], Awaitable[dict[str, Any]]] | None = None,
        *,
        replica: Effects | None = None,
        find: Callable[[], Awaitable[Any]] | None = None,
        money: bool = False,
        user_id: str = "u1",
    ) -> dict[str, Any]:
        async def answered(permit: Permit) -> dict[str, Any]:
            return {"id": self.zoho.write(key, permit)}

        async def search() -> dict[str, str] | None:
            return self.zoho.search(key)

        return await (replica or self.replica()).perform(
            key,
            product="billing",
            lane=Lane.COMMANDS,
            act=act or answered,
            find=find or search,
            settle_s=SETTLE_S,
            money=money,
            owner=User(key.org, user_id),
        )

    async def make_at_last(self, key: EffectKey, **more: Any) -> dict[str, Any]:
        """As the consumer does: back after the settle time, until it is settled."""
        while True:
            try:
                return await self.make(key, **more)
            except OutcomeUnknown as unknown:
                await asyncio.sleep(unknown.settle_s + 0.01)

    def reconciled(self, found: str) -> float:
        return (
            self.metrics.registry.get_sample_value(
                "effects_reconciled_total",
                {"org": "default", "operation": "create_customer", "found": found},
            )
            or 0.0
        )


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    async with storage.connect(SecretStr(database_url), size=8) as pool:
        await migrate(pool, schema="billing")
        yield World(pool, Vault(DataKeys(pool, KeyRing.parse(fresh_key("k1")))))


def key_of(business_id: str = "u1") -> EffectKey:
    return EffectKey("default", "create_customer", business_id)


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


async def test_a_lost_answer_is_looked_for_before_acting_again(world: World) -> None:
    async def lost(permit: Permit) -> dict[str, Any]:
        world.zoho.write(key_of(), permit)
        raise OutcomeUnknown("no answer", settle_s=0)

    with pytest.raises(OutcomeUnknown) as unknown:
        await world.make(key_of(), lost)
    assert TIMEOUT_S + SETTLE_S >= unknown.value.settle_s > 0
    with pytest.raises(OutcomeUnknown):  # too early to look
        await world.make(key_of())
    assert await world.replica().any_open("default")
    made = await world.make_at_last(key_of())

    assert world.zoho.made_of(key_of()) == [made["id"]]
    assert world.reconciled("yes") == 1


async def test_what_nobody_comes_back_for_stops_others_for_an_hour_only(world: World) -> None:
    async def lost(_permit: Permit) -> dict[str, Any]:
        raise OutcomeUnknown("no answer", settle_s=0)

    async def look_was_allowed(ago: str) -> None:
        sql = "UPDATE relay.effects SET look_after = clock_timestamp() - $1::text::interval"
        await world.pool.execute(sql, ago)

    with pytest.raises(OutcomeUnknown):
        await world.make(key_of(), lost)
    await look_was_allowed("59 minutes")
    assert await world.replica().any_open("default", "billing")
    await look_was_allowed("61 minutes")
    assert not await world.replica().any_open("default", "billing")

    await world.make(key_of())  # replayed, it is looked for all the same
    assert world.reconciled("no") == 1


async def test_what_is_surely_absent_is_made_again(world: World) -> None:
    async def never_arrived(_permit: Permit) -> dict[str, Any]:
        raise OutcomeUnknown("no answer", settle_s=0)

    with pytest.raises(OutcomeUnknown):
        await world.make(key_of(), never_arrived)
    made = await world.make_at_last(key_of())

    assert world.zoho.made_of(key_of()) == [made["id"]]
    assert world.reconciled("no") == 1


async def test_nobody_looks_before_the_request_of_a_dead_process_has_settled(world: World) -> None:
    started = time.monotonic()

    async def killed(permit: Permit) -> dict[str, Any]:
        world.zoho.write(key_of(), permit)
        raise Killed

    looked: list[float] = []

    async def find() -> dict[str, str] | None:
        looked.append(time.monotonic())
        return world.zoho.search(key_of())

    with pytest.raises(Killed):
        await world.make(key_of(), killed)
    made = await world.make_at_last(key_of(), find=find)

    assert world.zoho.made_of(key_of()) == [made["id"]]
    assert looked[0] - started >= WHOLE_WAIT_S


async def test_a_request_is_not_written_after_its_last_moment(world: World) -> None:
    async def slow(permit: Permit) -> dict[str, Any]:
        await asyncio.sleep(WRITE_S + 0.05)  # a paused process
        return {"id": world.zoho.write(key_of(), permit)}

    with pytest.raises(Unavailable, match="too late"):
        await world.make(key_of(), slow)
    made = await world.make(key_of())

    assert world.zoho.made_of(key_of()) == [made["id"]]


async def test_two_replicas_that_look_at_once_act_once(world: World) -> None:
    async def killed_before(_permit: Permit) -> dict[str, Any]:
        raise Killed

    with pytest.raises(Killed):
        await world.make(key_of(), killed_before)
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
        others.append(await world.make_at_last(key_of(), replica=world.replica()))
        return {"id": made}

    mine = await world.make(key_of(), late)

    assert mine == others[0]
    assert len(world.zoho.made_of(key_of())) == 1


async def test_money_that_may_have_moved_is_not_moved_again(world: World) -> None:
    async def lost(permit: Permit) -> dict[str, Any]:
        raise OutcomeUnknown("no answer", settle_s=0)

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
        raise OutcomeUnknown("no answer", settle_s=0)

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
        raise OutcomeUnknown("no answer", settle_s=0)

    async def declined() -> Absence:
        return Absence.PROVEN

    with pytest.raises(OutcomeUnknown):
        await world.make(key_of(), lost, money=True)
    made = await world.make_at_last(key_of(), find=declined, money=True)

    assert world.zoho.made_of(key_of()) == [made["id"]]


async def test_what_was_refused_is_known_and_not_done(world: World) -> None:
    async def refused(_permit: Permit) -> dict[str, Any]:
        raise Unavailable("no")

    async def lost(_permit: Permit) -> dict[str, Any]:
        raise OutcomeUnknown("no answer", settle_s=0)

    effects = world.replica()
    told = [await effects.may_be_done(key_of())]
    with pytest.raises(Unavailable):
        await world.make(key_of(), refused)
    told.append(await effects.may_be_done(key_of()))
    with pytest.raises(OutcomeUnknown):
        await world.make(key_of(), lost)
    told.append(await effects.may_be_done(key_of()))
    await world.make_at_last(key_of())
    told.append(await effects.may_be_done(key_of()))

    assert told == [False, False, True, True]
    assert await effects.knows(key_of())


async def test_evidence_is_dated_from_the_last_intent_not_the_first(world: World) -> None:
    async def refused(_permit: Permit) -> dict[str, Any]:
        raise Unavailable("no")

    effects = world.replica()
    assert await effects.intended_at(key_of()) is None
    with pytest.raises(Unavailable):
        await world.make(key_of(), refused)
    first = await effects.intended_at(key_of())
    await world.make(key_of())
    second = await effects.intended_at(key_of())

    assert first is not None
    assert second is not None
    assert first < second


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
                raise OutcomeUnknown("no answer", settle_s=0)
            case "answer lost, not done":
                raise OutcomeUnknown("no answer", settle_s=0)
            case "refused":
                raise RateLimited("no", retry_after_s=0, product="billing", limit="minute")
            case "unreadable answer":
                world.zoho.write(key, permit)
                raise KeyError("customer")
            case "process paused, written too late":
                await asyncio.sleep(WRITE_S + 0.02)
                return {"id": world.zoho.write(key, permit)}
            case _:
                return {"id": world.zoho.write(key, permit)}

    while True:
        try:
            return str((await world.make(key, act, replica=world.replica()))["id"])
        except OutcomeUnknown as unknown:
            # A redelivery, a lapsed lease or another replica comes at any time, also too early.
            await asyncio.sleep(chance.uniform(0, unknown.settle_s * 1.5))
        except (Killed, RateLimited, KeyError, Unavailable):
            await asyncio.sleep(chance.uniform(0, 0.05))


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_dies_and_whoever_races_there_is_exactly_one(
    world: World, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311
    keys = [key_of(f"u{n}") for n in range(60)]

    lives = [one_life(world, key, chance) for key in keys for _ in range(chance.randint(1, 3))]
    await asyncio.gather(*lives)

    made = [world.zoho.made_of(key) for key in keys]
    assert [len(ids) for ids in made] == [1] * len(keys)
    assert not await world.replica().any_open("default")
