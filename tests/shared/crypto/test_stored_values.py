"""Sealed columns open in their own row only, and blind indexes find the row of a value."""

import asyncpg
import pytest

from shared.crypto.blind_index import BlindIndex
from shared.crypto.blind_index_table import BlindIndexTable
from shared.crypto.data_keys import DataKeys
from shared.crypto.envelope import UserKey, Vault
from shared.crypto.keyring import KeyRing
from shared.crypto.opaque_ids import opaque_id
from shared.crypto.sealed_columns import SealedColumns
from shared.errors import PermanentError
from shared.messaging.handling.unit_of_work import UnitOfWork
from tests.kit.fresh_keys import fresh_key

OLD, NEW = fresh_key("old"), fresh_key("new")
ANN = UserKey("default", "u1")


@pytest.fixture
def columns(pool: asyncpg.Pool) -> SealedColumns:
    return SealedColumns(Vault(DataKeys(pool, KeyRing.parse(OLD))), "billing.users")


@pytest.fixture
async def emptied_pool(pool: asyncpg.Pool) -> asyncpg.Pool:
    await pool.execute("TRUNCATE billing.blind_index")
    return pool


def table(pool: asyncpg.Pool, ring: str = OLD) -> BlindIndexTable:
    return BlindIndexTable(pool, BlindIndex(KeyRing.parse(ring), "billing"), "billing")


async def store(pool: asyncpg.Pool, index: BlindIndexTable, value: str, row: str) -> None:
    async with pool.acquire() as connection:
        await index.insert(connection, index.rows("default", "email", value, row, user_id=row))


async def test_a_sealed_column_opens_for_its_own_row(columns: SealedColumns) -> None:
    blob = await columns.seal(ANN, "email", "u1", "ann@example.com")

    assert await columns.open("default", "email", "u1", blob) == "ann@example.com"
    assert await columns.open("default", "email", "u1", None) is None


@pytest.mark.parametrize(
    ("org", "column", "row"),
    [("default", "email", "u2"), ("default", "phone", "u1"), ("other", "email", "u1")],
)
async def test_a_sealed_column_does_not_open_elsewhere(
    columns: SealedColumns, org: str, column: str, row: str
) -> None:
    blob = await columns.seal(ANN, "email", "u1", "ann@example.com")

    with pytest.raises(PermanentError) as caught:
        await columns.open(org, column, row, blob)
    assert caught.value.code == "sealed_value_invalid"


async def test_a_value_finds_its_row_after_a_new_index_key_was_added(
    emptied_pool: asyncpg.Pool,
) -> None:
    await store(emptied_pool, table(emptied_pool), "Ann@Example.com", "u1")

    rotated = table(emptied_pool, f"{NEW},{OLD}")

    assert await rotated.find("default", "email", "ann@example.com") == "u1"
    assert await rotated.find("default", "email", "ben@example.com") is None
    assert await rotated.find("default", "phone", "ann@example.com") is None
    assert await rotated.find("other", "email", "ann@example.com") is None


async def test_a_value_of_two_rows_finds_neither(emptied_pool: asyncpg.Pool) -> None:
    index = table(emptied_pool)
    await store(emptied_pool, index, "ann@example.com", "u1")
    await store(emptied_pool, index, "ann@example.com", "u2")

    assert await index.find("default", "email", "ann@example.com") is None
    assert sorted(await index.find_all("default", "email", "ann@example.com")) == ["u1", "u2"]


async def test_a_user_who_asked_to_be_forgotten_is_found_by_who_asks_for_owners_alone(
    emptied_pool: asyncpg.Pool,
) -> None:
    index = table(emptied_pool)
    await store(emptied_pool, index, "ann@example.com", "forgotten")
    await emptied_pool.execute(
        "INSERT INTO relay.tombstones (org, user_id) VALUES ('default', 'forgotten')"
    )

    assert await index.find("default", "email", "ann@example.com") is None
    assert await index.owners("default", "email", "ann@example.com") == ["forgotten"]


async def test_a_removed_row_is_no_longer_found(emptied_pool: asyncpg.Pool) -> None:
    index = table(emptied_pool)
    await store(emptied_pool, index, "ann@example.com", "u1")

    work = UnitOfWork(org="default")
    index.remove(work, "default", "email", "u1")
    [change] = work.changes
    await emptied_pool.execute(change.sql, *change.args)

    assert await index.find("default", "email", "ann@example.com") is None


def test_our_id_of_a_record_is_always_the_same_and_differs_by_kind() -> None:
    index = BlindIndex(KeyRing.parse(OLD), "billing")

    invoice = opaque_id(index, "default", "inv", "4600000000012345678")

    assert invoice == opaque_id(index, "default", "inv", "4600000000012345678")
    assert invoice.startswith("inv_")
    assert invoice[4:] != opaque_id(index, "default", "pay", "4600000000012345678")[4:]
    assert "46000" not in invoice
