"""Test that a failed batch is released, except for the contacts already sent."""

from __future__ import annotations

import base64

import asyncpg

from services.crm_worker.repositories.contact_fields import ContactFields
from services.crm_worker.repositories.contacts import Contacts
from shared.crypto.blind_index import BlindIndex
from shared.crypto.envelope import DataKeys, Vault
from shared.crypto.keyring import KeyRing
from tests.crm_worker.contacts import leased


async def test_a_contact_that_was_sent_is_not_put_off_with_the_rest_of_its_batch(
    database_url: str,
) -> None:
    ring = KeyRing.parse(f"k1:{base64.b64encode(bytes(32)).decode()}")
    async with asyncpg.create_pool(database_url, min_size=1, max_size=1) as pool:
        await pool.execute(
            """
            INSERT INTO crm.contacts
                (org, user_id, has_email, wanted_version, sent_version, lease, leased_until)
            VALUES ('default', 'sent', true, 2, 2, 7, '-infinity'),
                   ('default', 'held', true, 2, 1, 7, now() + interval '1 minute')
            """
        )

        vault = Vault(DataKeys(pool, ring))
        fields = ContactFields(pool, vault)
        contacts = Contacts(pool, vault, BlindIndex(ring, "crm"), fields)
        await contacts.give_back([leased("sent"), leased("held")], after_s=60)

        rows = await pool.fetch("SELECT user_id, failures FROM crm.contacts")
    assert {row["user_id"]: row["failures"] for row in rows} == {"sent": 0, "held": 1}
