import asyncio
from collections.abc import Callable
from uuid import uuid4

import asyncpg
import hypothesis.strategies as st
import pytest
from hypothesis import given

from shared.crypto.data_key import DataKey
from shared.crypto.data_keys import DESTROY_USER_KEY, owner_of_user
from shared.crypto.envelope import DataKeys, DayKey, KeyOwner, UserKey, Vault
from shared.crypto.keyring import KeyRing
from shared.errors import PermanentError, Unavailable
from tests.kit.fresh_keys import fresh_key

OLD, NEW = fresh_key("old"), fresh_key("new")
ANN = UserKey("default", "u1")
CONTEXT = "billing.users.email:default:u1"

Replica = Callable[..., Vault]


@pytest.fixture
def replica(pool: asyncpg.Pool) -> Replica:
    """A vault as a process of its own would have it: nothing cached yet."""

    def start(ring: str = OLD, **options: float) -> Vault:
        return Vault(DataKeys(pool, KeyRing.parse(ring), **options))  # type: ignore[arg-type]

    return start


async def test_what_is_sealed_opens_in_another_replica(replica: Replica) -> None:
    blob = await replica().seal(ANN, "ann@example.com", CONTEXT)

    assert await replica().open(blob, CONTEXT) == "ann@example.com"
    assert b"ann" not in blob


async def test_the_same_text_is_never_sealed_to_the_same_bytes(replica: Replica) -> None:
    vault = replica()

    assert await vault.seal(ANN, "x", CONTEXT) != await vault.seal(ANN, "x", CONTEXT)


async def test_a_value_that_was_moved_to_another_row_does_not_open(replica: Replica) -> None:
    vault = replica()
    blob = await vault.seal(ANN, "ann@example.com", CONTEXT)

    with pytest.raises(PermanentError) as caught:
        await vault.open(blob, "billing.users.email:default:u2")

    assert caught.value.code == "sealed_value_invalid"


async def test_a_value_that_was_altered_does_not_open(replica: Replica) -> None:
    vault = replica()
    blob = await vault.seal(ANN, "ann@example.com", CONTEXT)

    for damaged in (blob[:-1], blob[:20], b"", blob[:-1] + bytes([blob[-1] ^ 1])):
        with pytest.raises(PermanentError) as caught:
            await vault.open(damaged, CONTEXT)
        assert caught.value.code == "sealed_value_invalid"


async def test_a_value_of_a_newer_version_waits_for_one_that_can_read_it(replica: Replica) -> None:
    vault = replica()
    blob = await vault.seal(ANN, "x", CONTEXT)

    with pytest.raises(Unavailable):
        await vault.open(bytes([9]) + blob[1:], CONTEXT)


async def test_each_user_and_each_organization_has_a_key_of_its_own(replica: Replica) -> None:
    vault = replica()
    owners: list[KeyOwner] = [
        ANN,
        UserKey("default", "u2"),
        UserKey("other", "u1"),
        DayKey("default"),
        DayKey("other"),
    ]

    keys = [await vault.key_of(owner) for owner in owners]

    assert len({key.id for key in keys}) == len(owners)


async def test_replicas_that_meet_a_user_at_the_same_time_use_one_key(replica: Replica) -> None:
    replicas = [replica() for _ in range(8)]

    blobs = await asyncio.gather(
        *[vault.seal(ANN, str(n), CONTEXT) for n, vault in enumerate(replicas)]
    )

    assert len({blob[1:17] for blob in blobs}) == 1
    assert [await replica().open(blob, CONTEXT) for blob in blobs] == [str(n) for n in range(8)]


async def test_after_a_rotation_old_values_open_and_new_keys_are_wrapped_by_the_new_one(
    replica: Replica, pool: asyncpg.Pool
) -> None:
    before = await replica(OLD).seal(ANN, "before", CONTEXT)

    vault = replica(f"{NEW},{OLD}")
    await vault.seal(UserKey("default", "u2"), "after", CONTEXT)

    assert await vault.open(before, CONTEXT) == "before"
    rows = await pool.fetch("SELECT owner, key_id FROM relay.data_keys")
    assert dict(rows) == {"user:u1": "old", "user:u2": "new"}  # type: ignore[arg-type]


async def test_a_key_that_the_ring_lacks_may_come_back(replica: Replica) -> None:
    blob = await replica(OLD).seal(ANN, "x", CONTEXT)
    vault = replica(NEW)

    for attempt in (lambda: vault.open(blob, CONTEXT), lambda: vault.seal(ANN, "y", CONTEXT)):
        with pytest.raises(Unavailable) as caught:
            await attempt()
        assert caught.value.code == "unknown_key"


async def test_another_key_under_the_same_id_is_a_mistake_that_can_be_mended(
    replica: Replica,
) -> None:
    blob = await replica(fresh_key("k1")).seal(ANN, "x", CONTEXT)

    with pytest.raises(Unavailable) as caught:
        await replica(fresh_key("k1")).open(blob, CONTEXT)

    assert caught.value.code == "unknown_key"


async def test_a_wrapped_key_that_was_moved_to_another_user_does_not_unwrap(
    replica: Replica, pool: asyncpg.Pool
) -> None:
    await replica().seal(ANN, "x", CONTEXT)
    await replica().seal(UserKey("default", "u2"), "x", CONTEXT)
    await pool.execute(
        """
        UPDATE relay.data_keys
        SET wrapped = (SELECT wrapped FROM relay.data_keys WHERE owner = 'user:u1')
        WHERE owner = 'user:u2'
        """
    )

    with pytest.raises(Unavailable):
        await replica().seal(UserKey("default", "u2"), "x", CONTEXT)


async def test_an_erased_user_is_not_readable_and_gets_no_new_key(
    pool: asyncpg.Pool, replica: Replica
) -> None:
    keys = DataKeys(pool, KeyRing.parse(OLD))
    vault = Vault(keys)
    blob = await vault.seal(ANN, "ann@example.com", CONTEXT)

    await keys.destroy("default", "u1")
    await keys.destroy("default", "u1")

    for reader in (vault, replica()):
        for attempt in (lambda: reader.open(blob, CONTEXT), lambda: reader.seal(ANN, "y", CONTEXT)):  # noqa: B023
            with pytest.raises(PermanentError) as caught:
                await attempt()
            assert caught.value.code == "erased"
    assert (
        await pool.fetchval("SELECT wrapped FROM relay.data_keys WHERE owner = 'user:u1'") is None
    )


async def test_a_user_who_never_had_a_key_can_be_erased_within_a_transaction(
    pool: asyncpg.Pool, replica: Replica
) -> None:
    await pool.execute(DESTROY_USER_KEY, "default", owner_of_user("u9"), uuid4())

    with pytest.raises(PermanentError):
        await replica().seal(UserKey("default", "u9"), "x", CONTEXT)


async def test_another_replica_forgets_a_destroyed_key_in_time(
    pool: asyncpg.Pool, replica: Replica
) -> None:
    reader = replica(cached_for_s=0.0)
    blob = await reader.seal(ANN, "x", CONTEXT)

    await DataKeys(pool, KeyRing.parse(OLD)).destroy("default", "u1")

    with pytest.raises(PermanentError):
        await reader.open(blob, CONTEXT)


async def test_only_so_many_keys_stay_in_memory_and_all_still_open(replica: Replica) -> None:
    vault = replica(cached=2)
    blobs = [await vault.seal(UserKey("default", f"u{n}"), str(n), CONTEXT) for n in range(5)]

    assert [await vault.open(blob, CONTEXT) for blob in blobs] == list("01234")


async def test_many_values_open_after_one_round_trip(pool: asyncpg.Pool, replica: Replica) -> None:
    blobs = [await replica().seal(UserKey("default", f"u{n}"), str(n), CONTEXT) for n in range(5)]
    vault = replica()

    await vault.preload(blobs)
    await pool.execute("TRUNCATE relay.data_keys")

    assert [await vault.open(blob, CONTEXT) for blob in blobs] == list("01234")


@given(st.binary(), st.text(), st.text())
def test_whatever_is_sealed_opens_in_its_context_and_in_no_other(
    value: bytes, context: str, other: str
) -> None:
    key = DataKey(uuid4(), bytes(32))
    blob = key.seal(value, context)

    assert key.open(blob, context) == value
    if context != other:
        with pytest.raises(PermanentError):
            key.open(blob, other)
