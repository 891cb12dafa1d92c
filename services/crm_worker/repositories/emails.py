"""Hold all SQL of email owners: one user at a time may match a contact of CRM's by an email.

CRM matches contacts by email too, and would give the contact of one user to the next one with the
same email (https://www.zoho.com/crm/developer/docs/api/v8/upsert-records.html).
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

import asyncpg

from services.crm_worker.repositories.contacts import WantedContact
from shared.crypto.blind_index import BlindIndex, BlindIndexEntry
from shared.crypto.blind_index_table import BlindIndexTable, IndexRow
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.storage.deadlocks import repeated_after_deadlock
from shared.storage.erased_users import refused_when_erased

_KEEP_ONLY = """
    DELETE FROM crm.blind_index
    WHERE org = $1 AND kind = 'email' AND row = $2 AND NOT index = ANY ($3::bytea[])
      AND EXISTS (SELECT FROM crm.contacts WHERE org = $1 AND user_id = $2 AND lease = $4)
"""

_DROP_OTHERS = """
    DELETE FROM crm.blind_index
    WHERE org = $1 AND kind = 'email' AND row = $2 AND NOT index = ANY ($3::bytea[])
"""

# After a user has let go of an email, the contact that waited for it is sent again. A statement of
# its own: it sees who was refused while the deletion waited.
TRY_AGAIN = """
    WITH held AS (
        SELECT c.org, c.user_id FROM crm.contacts c
        WHERE c.org = $1 AND c.user_id <> $2
          AND c.refused_email IS NOT NULL AND c.sent_version < c.refused_version
          AND NOT EXISTS (
              SELECT FROM crm.blind_index b
              WHERE b.org = c.org AND b.kind = 'email' AND b.index = c.refused_email)
        ORDER BY c.org, c.user_id
        FOR UPDATE OF c
    )
    UPDATE crm.contacts c
    SET refused_version = 0, refused_code = NULL, refused_email = NULL
    FROM held WHERE c.org = held.org AND c.user_id = held.user_id
"""

_HAND_OVER = """
    UPDATE crm.blind_index SET row = $3, user_id = $3
    WHERE org = $1 AND kind = 'email' AND row = $2 AND index = ANY ($4::bytea[])
"""


class Emails:
    def __init__(self, pool: asyncpg.Pool, index: BlindIndex) -> None:
        self._pool = pool
        self._index = index
        self._table = BlindIndexTable(pool, index, "crm")

    async def claim(self, contacts: Sequence[WantedContact]) -> set[str]:
        """Take the emails of these contacts for their users. The first one in the list gets it.

        Returns the users whose email belongs to another. Two replicas never both get one: the
        second waits for the first one's commit.
        """
        claims = [claim for contact in contacts for claim in self._claims(contact)]
        claims.sort(key=itemgetter(2))  # by index, so that replicas lock in the same order
        rows = await repeated_after_deadlock(lambda: self._insert_and_read(claims))
        owners = {(row["org"], row["index"]): row["row"] for row in rows}
        return {row for org, _, index, _, row, _ in claims if owners.get((org, index)) != row}

    async def _insert_and_read(self, claims: Sequence[IndexRow]) -> list[asyncpg.Record]:
        async with self._pool.acquire() as connection, connection.transaction():
            with refused_when_erased():
                await self._table.insert(connection, claims)
            return await connection.fetch(
                """
                SELECT b.org, b.index, b.row FROM crm.blind_index b
                JOIN unnest($1::text[], $2::bytea[]) AS asked (org, index)
                  ON b.org = asked.org AND b.index = asked.index
                WHERE b.kind = 'email'
                """,
                [claim[0] for claim in claims],
                [claim[2] for claim in claims],
            )

    def keep_only_present(self, work: UnitOfWork, contact: WantedContact) -> None:
        """Free the former emails of a contact: CRM has its present one."""
        self._keep(work, contact, self._indexes(contact))

    def free_all(self, work: UnitOfWork, contact: WantedContact) -> None:
        """Free the email of a user for whom CRM has no contact."""
        self._keep(work, contact, [])

    def change(self, work: UnitOfWork, org: str, user_id: str, email: str) -> None:
        """Give a user the email that staff wrote, unless it is another's, and free the former."""
        indexes = [entry.index for entry in self._index.of(org, "email", email)]
        self._table.add(work, org, "email", email, user_id, user_id=user_id)
        work.record(_DROP_OTHERS, org, user_id, indexes)
        work.record(TRY_AGAIN, org, user_id)

    def hand_over(self, work: UnitOfWork, contact: WantedContact, owner: str) -> None:
        """Give the email to its owner, whose contact CRM matched by it."""
        work.record(_HAND_OVER, contact.org, contact.user_id, owner, self._indexes(contact))

    def entries(self, contact: WantedContact) -> list[BlindIndexEntry]:
        return self._index.of(contact.org, "email", contact.email)

    def _claims(self, contact: WantedContact) -> list[IndexRow]:
        return self._table.rows(
            contact.org, "email", contact.email, contact.user_id, user_id=contact.user_id
        )

    def _keep(self, work: UnitOfWork, contact: WantedContact, indexes: list[bytes]) -> None:
        work.record(_KEEP_ONLY, contact.org, contact.user_id, indexes, contact.lease)
        work.record(TRY_AGAIN, contact.org, contact.user_id)

    def _indexes(self, contact: WantedContact) -> list[bytes]:
        return [entry.index for entry in self.entries(contact)]
