"""Test since when CRM is said to be behind: by contacts that are still to be sent."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import asyncpg
import pytest

from services.crm_worker.repositories.contact_fields import ContactFields
from services.crm_worker.repositories.contacts import Contacts
from shared.crypto.blind_index import BlindIndex
from shared.crypto.envelope import DataKeys, Vault
from shared.crypto.keyring import KeyRing

EARLIER, LATER = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
async def contacts(database_url: str, database: asyncpg.Connection) -> AsyncIterator[Contacts]:
    """The contact of u2 is to be sent since a day after that of u1 was wanted."""
    await database.executemany(
        """
        INSERT INTO crm.contacts (org, user_id, has_email, wanted_version, wanted_since)
        VALUES ('default', $1, true, 2, $2)
        """,
        [("u1", EARLIER), ("u2", LATER)],
    )
    ring = KeyRing.parse(f"k1:{base64.b64encode(bytes(32)).decode()}")
    async with asyncpg.create_pool(database_url, min_size=1, max_size=1) as pool:
        vault = Vault(DataKeys(pool, ring))
        yield Contacts(pool, vault, BlindIndex(ring, "crm"), ContactFields(pool, vault))


async def test_crm_is_behind_since_its_oldest_unsent_contact_was_wanted(
    contacts: Contacts,
) -> None:
    assert await contacts.behind_since("default") == EARLIER
    assert await contacts.behind_since("other") is None


@pytest.mark.parametrize(
    "of_u1",
    [
        "UPDATE crm.contacts SET sent_version = 2 WHERE user_id = 'u1'",
        "UPDATE crm.contacts SET refused_version = 2 WHERE user_id = 'u1'",
        "UPDATE crm.contacts SET has_email = false WHERE user_id = 'u1'",
        "INSERT INTO relay.tombstones (org, user_id) VALUES ('default', 'u1')",
    ],
)
async def test_what_is_not_to_be_sent_leaves_crm_behind_since_the_next(
    contacts: Contacts, database: asyncpg.Connection, of_u1: str
) -> None:
    await database.execute(of_u1)

    assert await contacts.behind_since("default") == LATER
