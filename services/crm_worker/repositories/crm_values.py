"""Hold all SQL of what CRM has in a contact's email and phone, as it was last sent or read.

By it a change of staff's is distinguished from the echo of our own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg

from services.crm_worker.repositories.contact_fields import ContactField, ContactFields
from services.crm_worker.repositories.contacts import WantedContact
from shared.crypto.blind_index import BlindIndex
from shared.crypto.blind_index_table import BlindIndexTable
from shared.crypto.envelope import UserKey, Vault
from shared.crypto.sealed_columns import SealedColumns
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.storage.deadlocks import repeated_after_deadlock

# Only whoever still holds the lease may say what was sent.
_SENT = """
    UPDATE crm.contact_fields SET in_crm_sealed = $5
    WHERE org = $1 AND user_id = $2 AND field = $3
      AND EXISTS (SELECT FROM crm.contacts WHERE org = $1 AND user_id = $2 AND lease = $4)
"""

# Locked in the order of their keys, so that two such statements wait for each other.
_FORGET = """
    WITH held AS (
        SELECT f.org, f.user_id, f.field FROM crm.contact_fields f
        JOIN unnest($1::text[], $2::text[], $3::text[]) AS outdated (org, user_id, field)
          ON f.org = outdated.org AND f.user_id = outdated.user_id AND f.field = outdated.field
        ORDER BY f.org, f.user_id, f.field
        FOR UPDATE OF f
    )
    UPDATE crm.contact_fields f SET in_crm_sealed = NULL
    FROM held WHERE f.org = held.org AND f.user_id = held.user_id AND f.field = held.field
"""

_TAKE_OVER = "SELECT crm.take_over($1, $2, $3, $4, $5, $6, $7, $8)"


@dataclass(frozen=True)
class StoredContact:
    """A contact as stored, to be compared with what CRM has.

    `wanted`, `in_crm`: by field, the value that we want and the one that CRM had last, where that
    is known. `is_pending`: a change of the application's is on its way to CRM.
    """

    org: str
    user_id: str
    zoho_id: str
    wanted: Mapping[str, str]
    in_crm: Mapping[str, str]
    is_pending: bool
    sealed: Mapping[str, tuple[bytes, bytes | None]]

    def __repr__(self) -> str:
        return f"<StoredContact {self.user_id}>"


class CrmValues:
    def __init__(
        self, pool: asyncpg.Pool, vault: Vault, index: BlindIndex, fields: ContactFields
    ) -> None:
        self._pool = pool
        self._contacts = SealedColumns(vault, "crm.contacts")
        self._fields = fields
        self._index = BlindIndexTable(pool, index, "crm")

    async def forget(self, outdated: Sequence[tuple[WantedContact, ContactField]]) -> None:
        """Note that it is unknown what CRM has in these fields: they are about to be sent."""
        if not outdated:
            return
        columns = (
            [contact.org for contact, _ in outdated],
            [contact.user_id for contact, _ in outdated],
            [field for _, field in outdated],
        )
        await repeated_after_deadlock(lambda: self._pool.execute(_FORGET, *columns))

    async def record_in_crm(
        self, work: UnitOfWork, contact: WantedContact, values: Mapping[ContactField, str]
    ) -> None:
        """Record what CRM has, as its answer says. Nothing when the lease was lost."""
        owner = UserKey(contact.org, contact.user_id)
        for field, value in values.items():
            sealed = await self._fields.seal_in_crm(owner, field, value)
            work.record(_SENT, contact.org, contact.user_id, field, contact.lease, sealed)

    async def stored(self, org: str, zoho_ids: Sequence[str]) -> list[StoredContact]:
        """Return those of these contacts of CRM's that are our users'.

        Not those of users who asked to be forgotten.
        """
        rows = await self._pool.fetch(
            """
            SELECT c.user_id, c.zoho_id_sealed,
                c.wanted_version > greatest(c.sent_version, c.refused_version) AS pending
            FROM crm.contacts c
            WHERE c.org = $1 AND c.user_id IN (
                SELECT row FROM crm.blind_index
                WHERE org = $1 AND kind = 'zoho_contact' AND index = ANY ($2::bytea[]))
              AND NOT EXISTS (SELECT FROM relay.tombstones t
                              WHERE t.org = c.org AND t.user_id = c.user_id)
            """,
            org,
            self._index.digests(org, "zoho_contact", zoho_ids),
        )
        found = {
            row["user_id"]: (zoho_id, row["pending"])
            for row in rows
            # A user whose contact was made anew is still found by the former one's id.
            if (zoho_id := await self._zoho_id(org, row)) in zoho_ids
        }
        fields = await self._fields.of(org, list(found), only=("email", "phone"))
        return [
            StoredContact(
                org=org,
                user_id=user_id,
                zoho_id=zoho_id,
                wanted=fields[user_id].wanted,
                in_crm=fields[user_id].in_crm,
                is_pending=is_pending,
                sealed=fields[user_id].sealed,
            )
            for user_id, (zoho_id, is_pending) in found.items()
        ]

    async def _zoho_id(self, org: str, row: asyncpg.Record) -> str:
        """Return the contact's id in CRM. Empty while CRM has none."""
        zoho_id = await self._contacts.open(org, "zoho_id", row["user_id"], row["zoho_id_sealed"])
        return zoho_id or ""

    async def take_over(
        self, work: UnitOfWork, contact: StoredContact, field: ContactField, value: str
    ) -> None:
        """Store what staff wrote. It is what the application's next change starts from.

        The commit fails (`StaleRead`) when the field was changed or sent since it was read.
        """
        await self._record(work, contact, field, wanted=value, in_crm=value)

    async def leave(
        self, work: UnitOfWork, contact: StoredContact, field: ContactField, value: str
    ) -> None:
        """Record what CRM has, and go on wanting what we did. Fails as `take_over` does."""
        await self._record(work, contact, field, wanted=contact.wanted[field], in_crm=value)

    async def _record(
        self,
        work: UnitOfWork,
        contact: StoredContact,
        field: ContactField,
        *,
        wanted: str,
        in_crm: str,
    ) -> None:
        org, user_id = contact.org, contact.user_id
        owner = UserKey(org, user_id)
        work.record(
            _TAKE_OVER,
            org,
            user_id,
            field,
            *contact.sealed.get(field, (None, None)),
            await self._fields.seal(owner, field, wanted),
            await self._fields.seal_in_crm(owner, field, in_crm),
            work.arrived,
        )
