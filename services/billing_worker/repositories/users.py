"""Hold all SQL of users: their fields, their customer in Billing and their contact in Books."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import asyncpg

from shared.crypto.blind_index import BlindIndex
from shared.crypto.blind_index_table import BlindIndexTable
from shared.crypto.envelope import UserKey, Vault
from shared.crypto.sealed_columns import SealedColumns
from shared.errors import PermanentError
from shared.messaging.handling.unit_of_work import UnitOfWork

UserField = Literal["email", "full_name", "first_name", "last_name", "phone"]

FROM_SIGN_UP: Final = 0
FROM_SUBSCRIPTION_REQUEST: Final = -1
"""The fields in a subscription's request give way to those of the sign-up itself."""

_FIELD = """
    INSERT INTO billing.user_fields (org, user_id, field, value_sealed, arrived)
    VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (org, user_id, field) DO UPDATE
    SET value_sealed = excluded.value_sealed, arrived = excluded.arrived
    WHERE excluded.arrived > user_fields.arrived
"""

# In one round trip, because every sign-up waits for it. The email finds the user in place of the
# former one, if it is newer than that.
_STORE = """
    WITH known AS (
        INSERT INTO billing.users (org, user_id) VALUES ($1, $2) ON CONFLICT DO NOTHING
    ), stored AS (
        INSERT INTO billing.user_fields (org, user_id, field, value_sealed, arrived)
        SELECT $1, $2, f.field, f.value_sealed, $5
        FROM unnest($3::text[], $4::bytea[]) AS f (field, value_sealed) ORDER BY f.field
        ON CONFLICT (org, user_id, field) DO UPDATE
        SET value_sealed = excluded.value_sealed, arrived = excluded.arrived
        WHERE excluded.arrived > user_fields.arrived
        RETURNING field
    ), dropped AS (
        DELETE FROM billing.blind_index
        WHERE org = $1 AND kind = 'email' AND row = $2 AND index <> ALL ($6::bytea[])
          AND EXISTS (SELECT FROM stored WHERE field = 'email')
    )
    INSERT INTO billing.blind_index (org, kind, index, key_id, row, user_id)
    SELECT $1, 'email', i.index, i.key_id, $2, $2
    FROM unnest($6::bytea[], $7::text[]) AS i (index, key_id)
    WHERE EXISTS (SELECT FROM stored WHERE field = 'email')
    ON CONFLICT DO NOTHING
"""

_CUSTOMER = """
    UPDATE billing.users SET customer_sealed = $3 WHERE org = $1 AND user_id = $2
"""

_CONTACT = """
    UPDATE billing.users SET contact_sealed = $3 WHERE org = $1 AND user_id = $2
"""

_TAKE_REVISION = "SELECT billing.take_revision($1, $2, $3)"


@dataclass(frozen=True)
class User:
    """A user. `arrived` has, for each field, the arrival number of the command that set it."""

    org: str
    user_id: str
    fields: Mapping[str, str]
    arrived: Mapping[str, int]
    customer_id: str | None
    contact_id: str | None
    revision: int

    @property
    def email(self) -> str | None:
        return self.fields.get("email") or None

    def knows_newer(self, field: str, arrived: int) -> bool:
        return self.arrived.get(field, FROM_SUBSCRIPTION_REQUEST - 1) >= arrived


class Users:
    def __init__(self, pool: asyncpg.Pool, vault: Vault, index: BlindIndex) -> None:
        self._pool = pool
        self._sealed = SealedColumns(vault, "billing.users")
        self._sealed_fields = SealedColumns(vault, "billing.user_fields")
        self._index = BlindIndexTable(pool, index, "billing")

    async def get(self, org: str, user_id: str) -> User | None:
        row = await self._pool.fetchrow(
            """
            SELECT u.org, u.user_id, u.customer_sealed, u.contact_sealed, u.revision, (
                SELECT jsonb_object_agg(
                    field, jsonb_build_array(encode(value_sealed, 'hex'), arrived))
                FROM billing.user_fields f WHERE f.org = u.org AND f.user_id = u.user_id
            ) AS fields
            FROM billing.users u
            WHERE u.org = $1 AND u.user_id = $2
            """,
            org,
            user_id,
        )
        return await self._user(row) if row else None

    async def find_by_customer(self, org: str, customer_id: str) -> User | None:
        """The user who has this customer; None when no known user has it."""
        return await self._find(org, "customer", customer_id)

    async def owner_of_customer(self, org: str, customer_id: str) -> str | None:
        """The user whose customer this is, also one who asked to be forgotten."""
        owners = await self._index.owners(org, "customer", customer_id)
        return owners[0] if owners else None

    async def owner_of_contact(self, org: str, contact_id: str) -> str | None:
        """The user whose contact of Books this is, also one who asked to be forgotten."""
        owners = await self._index.owners(org, "contact", contact_id)
        return owners[0] if owners else None

    async def list_with_email(self, org: str, email: str) -> list[User]:
        """Every user with this email, those who asked to be forgotten too."""
        users = [
            await self.get(org, user_id)
            for user_id in await self._index.owners(org, "email", email)
        ]
        return [user for user in users if user is not None]

    async def find_by_email(self, org: str, email: str) -> User | None:
        """The user with this email; None when there is none or more than one."""
        return await self._find(org, "email", email)

    async def store(
        self, work: UnitOfWork, user_id: str, fields: Mapping[UserField, str], *, arrived: int
    ) -> User:
        """Commit the fields early, before any call. A field set by a newer command stays.

        So a sign-up is kept even while Zoho is unavailable, and who waits for the user goes on.
        """
        sealed = await self._seal_fields(work.org, user_id, fields)
        email = fields.get("email", "")
        entries = self._index.rows(work.org, "email", email, user_id, user_id=user_id)
        work.record(
            _STORE,
            work.org,
            user_id,
            [*sealed],
            [*sealed.values()],
            arrived,
            [index for _, _, index, _, _, _ in entries],
            [key_id for _, _, _, key_id, _, _ in entries],
        )
        work.record_fact("user", user_id)
        await work.commit_early()
        user = await self.get(work.org, user_id)
        if user is None:  # it was stored just now, and has been erased since
            raise PermanentError("the user asked to be forgotten", code="erased")
        return user

    async def record_fields(
        self, work: UnitOfWork, user_id: str, changes: Mapping[UserField, str]
    ) -> None:
        """Record changed fields. A field set by a newer command stays."""
        for field, value in (await self._seal_fields(work.org, user_id, changes)).items():
            work.record(_FIELD, work.org, user_id, field, value, work.arrived)
        if changes.get("email"):
            self._index.remove(work, work.org, "email", user_id)
            self._index.add(work, work.org, "email", changes["email"], user_id, user_id=user_id)

    async def record_customer(self, work: UnitOfWork, user_id: str, customer_id: str) -> None:
        owner = UserKey(work.org, user_id)
        sealed = await self._sealed.seal(owner, "customer", user_id, customer_id)
        work.record(_CUSTOMER, work.org, user_id, sealed)
        self._index.add(work, work.org, "customer", customer_id, user_id, user_id=user_id)

    async def record_contact(self, work: UnitOfWork, user_id: str, contact_id: str) -> None:
        owner = UserKey(work.org, user_id)
        sealed = await self._sealed.seal(owner, "contact", user_id, contact_id)
        work.record(_CONTACT, work.org, user_id, sealed)
        self._index.add(work, work.org, "contact", contact_id, user_id, user_id=user_id)

    def take_revision(self, work: UnitOfWork, user: User) -> None:
        """Make the commit fail if anything that decides the tier changed since `user` was read."""
        work.record(_TAKE_REVISION, user.org, user.user_id, user.revision)

    async def _find(self, org: str, kind: str, value: str) -> User | None:
        user_id = await self._index.find(org, kind, value)
        return await self.get(org, user_id) if user_id else None

    async def _seal_fields(
        self, org: str, user_id: str, values: Mapping[UserField, str]
    ) -> dict[UserField, bytes]:
        owner = UserKey(org, user_id)
        return {
            field: await self._sealed_fields.seal(owner, field, user_id, value)
            for field, value in values.items()
        }

    async def _user(self, row: asyncpg.Record) -> User:
        org, user_id = row["org"], row["user_id"]
        stored: dict[str, list[object]] = row["fields"] or {}
        return User(
            org=org,
            user_id=user_id,
            fields={
                field: await self._sealed_fields.open(
                    org, field, user_id, bytes.fromhex(str(value))
                )
                for field, (value, _) in stored.items()
            },
            arrived={field: int(str(arrived)) for field, (_, arrived) in stored.items()},
            customer_id=await self._sealed.open(org, "customer", user_id, row["customer_sealed"]),
            contact_id=await self._sealed.open(org, "contact", user_id, row["contact_sealed"]),
            revision=row["revision"],
        )
