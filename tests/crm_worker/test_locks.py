"""Test that what other transactions have locked costs no contact its turn."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest

from deploy.driving.system_driver import SystemDriver
from services.crm_worker.repositories.contact_fields import ContactFields
from services.crm_worker.repositories.contacts import Contacts
from services.crm_worker.repositories.crm_values import CrmValues
from shared.crypto.blind_index import BlindIndex
from shared.crypto.envelope import DataKeys, Vault
from shared.crypto.keyring import KeyRing
from tests.crm_worker.contacts import ADA, bring_forward, leased, subscription_changed, until


@dataclass(frozen=True)
class Repositories:
    contacts: Contacts
    values: CrmValues


@pytest.fixture
async def repositories(database_url: str) -> AsyncIterator[Repositories]:
    """Both know the contacts of u1 and u2, which are leased, and stored in the opposite order."""
    ring = KeyRing.parse(f"k1:{base64.b64encode(bytes(32)).decode()}")
    async with asyncpg.create_pool(database_url, min_size=1, max_size=1) as pool:
        for user in ("u2", "u1"):
            await pool.execute(
                """
                INSERT INTO crm.contacts (org, user_id, wanted_version, lease, leased_until)
                VALUES ('default', $1, 1, 7, 'infinity')
                """,
                user,
            )
            await pool.execute(
                """
                INSERT INTO crm.contact_fields (org, user_id, field, value_sealed, arrived)
                VALUES ('default', $1, 'email', '', 1)
                """,
                user,
            )
        vault, index = Vault(DataKeys(pool, ring)), BlindIndex(ring, "crm")
        fields = ContactFields(pool, vault)
        yield Repositories(
            Contacts(pool, vault, index, fields), CrmValues(pool, vault, index, fields)
        )


HELD = [leased("u2"), leased("u1")]
WRITES: dict[str, tuple[str, Callable[[Repositories], Awaitable[None]]]] = {
    "tags": ("crm.contacts", lambda both: both.contacts.forget_tags(HELD)),
    "lease": ("crm.contacts", lambda both: both.contacts.give_back(HELD, after_s=60)),
    "values": (
        "crm.contact_fields",
        lambda both: both.values.forget([(contact, "email") for contact in HELD]),
    ),
}


async def lock(connection: asyncpg.Connection, table: str, user: str) -> None:
    await connection.execute(f"SELECT FROM {table} WHERE user_id = $1 FOR UPDATE", user)


async def waits(connection: asyncpg.Connection, writing: asyncio.Task[None]) -> None:
    """Return once it waits for a lock."""
    async with asyncio.timeout(10):
        while not await connection.fetchval(
            """
            SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'
            """
        ):
            assert not writing.done()


@pytest.mark.parametrize(("table", "write"), WRITES.values(), ids=WRITES)
async def test_several_contacts_are_locked_in_the_order_of_their_users(
    repositories: Repositories,
    database: asyncpg.Connection,
    table: str,
    write: Callable[[Repositories], Awaitable[None]],
) -> None:
    async with database.transaction():
        # In a deadlock, this transaction would be the one that is undone.
        await database.execute("SET LOCAL deadlock_timeout = '10ms'")
        await lock(database, table, "u1")
        writing = asyncio.ensure_future(write(repositories))
        await waits(database, writing)
        await lock(database, table, "u2")
    await writing


@pytest.mark.parametrize(("table", "write"), WRITES.values(), ids=WRITES)
async def test_a_write_that_was_undone_by_a_deadlock_is_repeated(
    repositories: Repositories,
    database: asyncpg.Connection,
    table: str,
    write: Callable[[Repositories], Awaitable[None]],
) -> None:
    async with database.transaction():
        await database.execute("SET LOCAL deadlock_timeout = '1min'")
        await lock(database, table, "u2")
        writing = asyncio.ensure_future(write(repositories))
        await waits(database, writing)
        await lock(database, table, "u1")
    await writing


async def test_a_batch_that_the_database_refuses_is_tried_again_soon(
    crm: SystemDriver, database: asyncpg.Connection
) -> None:
    await crm.publish("user.signed_up.v1", ADA)
    await crm.event("contact.synced.v1", tier="Free Tier")
    await database.execute(
        """
        CREATE FUNCTION crm.refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'too busy' USING ERRCODE = 'too_many_connections'; END $$;
        CREATE TRIGGER refuse BEFORE UPDATE OF sent_tags ON crm.contacts
            FOR EACH ROW EXECUTE FUNCTION crm.refuse();
        """
    )

    await subscription_changed(crm, "u1", "Paid Tier", 1)
    await until(database, "SELECT failures FROM crm.contacts", 1)
    await database.execute("DROP TRIGGER refuse ON crm.contacts")
    await bring_forward(database)

    await crm.event("contact.synced.v1", tier="Paid Tier")


async def test_a_batch_is_given_back_once_the_database_is_there_again(
    crm: SystemDriver, database: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = [OSError("it does not answer")] * 2
    give_back = Contacts.give_back

    async def as_in_an_outage(*args: Any, **options: Any) -> None:
        if away:
            raise away.pop()
        await give_back(*args, **options)

    monkeypatch.setattr(Contacts, "give_back", as_in_an_outage)
    await crm.sandbox.fault("crm", "status:500", operation="upsert_records", times=9)

    await crm.publish("user.signed_up.v1", ADA)
    await until(database, "SELECT failures FROM crm.contacts", 1)
    await crm.sandbox.clear_faults()
    await bring_forward(database)

    await crm.event("contact.synced.v1", tier="Free Tier")
    assert not away
