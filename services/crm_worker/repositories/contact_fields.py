"""Hold all SQL of contacts' fields as they are wanted, and read what CRM has in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

import asyncpg

from shared.crypto.envelope import UserKey, Vault
from shared.crypto.sealed_columns import SealedColumns
from shared.messaging.handling.unit_of_work import UnitOfWork

ContactField = Literal["email", "first_name", "last_name", "phone"]
_ALL: Final[tuple[ContactField, ...]] = get_args(ContactField)

_WANT = """
    INSERT INTO crm.contact_fields (org, user_id, field, value_sealed, arrived)
    VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (org, user_id, field) DO UPDATE
    SET value_sealed = excluded.value_sealed, arrived = excluded.arrived
    WHERE excluded.arrived > contact_fields.arrived
"""

_FORGET_IN_CRM = """
    UPDATE crm.contact_fields SET in_crm_sealed = NULL WHERE org = $1 AND user_id = $2
"""


@dataclass
class StoredFields:
    """The fields of one contact.

    `wanted`, `in_crm`: by field, the value that we want and the one that CRM had last, where that
    is known. `sealed`: both as they are stored.
    """

    wanted: dict[str, str] = field(default_factory=dict)
    in_crm: dict[str, str] = field(default_factory=dict)
    sealed: dict[str, tuple[bytes, bytes | None]] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<StoredFields {', '.join(self.sealed)}>"


class ContactFields:
    def __init__(self, pool: asyncpg.Pool, vault: Vault) -> None:
        self._pool = pool
        self._sealed = SealedColumns(vault, "crm.contact_fields")

    async def want(
        self, work: UnitOfWork, user_id: str, values: Mapping[ContactField, str], *, arrived: int
    ) -> None:
        """Want these values from now on, unless a newer one was recorded."""
        owner = UserKey(work.org, user_id)
        for name, value in values.items():
            sealed = await self.seal(owner, name, value)
            work.record(_WANT, work.org, user_id, name, sealed, arrived)

    def forget_in_crm(self, work: UnitOfWork, user_id: str) -> None:
        """Note that it is unknown what CRM has in a user's contact."""
        work.record(_FORGET_IN_CRM, work.org, user_id)

    async def of(
        self, org: str, user_ids: Sequence[str], *, only: Sequence[ContactField] = _ALL
    ) -> dict[str, StoredFields]:
        """Return the fields of these users' contacts, by user, asked to be forgotten or not."""
        rows = await self._pool.fetch(
            """
            SELECT user_id, field, value_sealed, in_crm_sealed FROM crm.contact_fields
            WHERE org = $1 AND user_id = ANY ($2::text[]) AND field = ANY ($3::text[])
            """,
            org,
            user_ids,
            only,
        )
        stored = {user_id: StoredFields() for user_id in user_ids}
        for row in rows:
            await self._open(stored[row["user_id"]], org, row)
        return stored

    async def _open(self, into: StoredFields, org: str, row: asyncpg.Record) -> None:
        user_id, name, wanted, in_crm = row
        into.sealed[name] = (wanted, in_crm)
        into.wanted[name] = await self._sealed.open(org, name, user_id, wanted)
        if in_crm is not None:
            into.in_crm[name] = await self._sealed.open(org, _in_crm(name), user_id, in_crm)

    async def seal(self, owner: UserKey, name: str, value: str) -> bytes:
        """Seal a value that is wanted."""
        return await self._sealed.seal(owner, name, owner.user_id, value)

    async def seal_in_crm(self, owner: UserKey, name: str, value: str) -> bytes:
        """Seal a value that CRM has."""
        return await self._sealed.seal(owner, _in_crm(name), owner.user_id, value)


def _in_crm(name: str) -> str:
    """Return the column, as values are bound to it, of what CRM has in this field."""
    return f"{name} in CRM"
