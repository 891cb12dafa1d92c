"""Hold all SQL of users: their fields, their customer in Billing and their contact in Books."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import asyncpg

from shared.crypto.blind_index import BlindIndex
from shared.crypto.envelope import UserKey, Vault
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

_USER = """
    INSERT INTO billing.users (org, user_id) VALUES ($1, $2) ON CONFLICT DO NOTHING
"""

_CUSTOMER = """
    UPDATE billing.users SET customer_sealed = $3 WHERE org = $1 AND user_id = $2
"""

_CONTACT = """
    UPDATE billing.users SET contact_sealed = $3 WHERE org = $1 AND user_id = $2
"""

_FORGET_INDEX = """
    DELETE FROM billing.blind_index WHERE org = $1 AND kind = $2 AND row = $3
"""

_INDEX = """
    INSERT INTO billing.blind_index (org, kind, index, key_id, row) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT DO NOTHING
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
        self._vault = vault
        self._index = index

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
        return await self._find_one(org, "customer", customer_id)

    async def find_by_email(self, org: str, email: str) -> User | None:
        """The user with this email; None when there is none or more than one."""
        return await self._find_one(org, "email", email)

    async def store(
        self, org: str, user_id: str, fields: Mapping[UserField, str], *, arrived: int
    ) -> User:
        """Store the fields at once, before any call. A field set by a newer command stays.

        Not part of the attempt's unit of work: a sign-up is kept even while Zoho is unavailable.
        """
        sealed = await self._sealed(org, user_id, fields)
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(_USER, org, user_id)
            for field, value in sealed.items():
                stored = await connection.execute(_FIELD, org, user_id, field, value, arrived)
                if field == "email" and stored == "INSERT 0 1":
                    await connection.execute(_FORGET_INDEX, org, "email", user_id)
                    await connection.executemany(
                        _INDEX, self._entries(org, "email", fields["email"], user_id)
                    )
        user = await self.get(org, user_id)
        assert user is not None  # noqa: S101 - it was stored just now, and users are not deleted
        return user

    async def record_fields(
        self, work: UnitOfWork, user_id: str, changes: Mapping[UserField, str]
    ) -> None:
        """Record changed fields. A field set by a newer command stays."""
        for field, value in (await self._sealed(work.org, user_id, changes)).items():
            work.record(_FIELD, work.org, user_id, field, value, work.arrived)
        if changes.get("email"):
            work.record(_FORGET_INDEX, work.org, "email", user_id)
            self._record_index(work, "email", changes["email"], user_id)

    async def record_customer(self, work: UnitOfWork, user_id: str, customer_id: str) -> None:
        place = _place("customer", work.org, user_id)
        sealed = await self._vault.seal(UserKey(work.org, user_id), customer_id, place)
        work.record(_CUSTOMER, work.org, user_id, sealed)
        self._record_index(work, "customer", customer_id, user_id)

    async def record_contact(self, work: UnitOfWork, user_id: str, contact_id: str) -> None:
        place = _place("contact", work.org, user_id)
        sealed = await self._vault.seal(UserKey(work.org, user_id), contact_id, place)
        work.record(_CONTACT, work.org, user_id, sealed)

    def take_revision(self, work: UnitOfWork, user: User) -> None:
        """Make the commit fail if anything that decides the tier changed since `user` was read."""
        work.record(_TAKE_REVISION, user.org, user.user_id, user.revision)

    def _record_index(self, work: UnitOfWork, kind: str, value: str, user_id: str) -> None:
        for entry in self._entries(work.org, kind, value, user_id):
            work.record(_INDEX, *entry)

    def _entries(self, org: str, kind: str, value: str, user_id: str) -> list[tuple[object, ...]]:
        return [
            (org, kind, entry.index, entry.key_id, user_id)
            for entry in self._index.of(org, kind, value)
        ]

    async def _find_one(self, org: str, kind: str, value: str) -> User | None:
        rows = await self._pool.fetch(
            """
            SELECT DISTINCT row FROM billing.blind_index
            WHERE org = $1 AND kind = $2 AND index = ANY($3)
            """,
            org,
            kind,
            [entry.index for entry in self._index.of(org, kind, value)],
        )
        return await self.get(org, rows[0]["row"]) if len(rows) == 1 else None

    async def _sealed(
        self, org: str, user_id: str, values: Mapping[UserField, str]
    ) -> dict[UserField, bytes]:
        key = await self._vault.key_of(UserKey(org, user_id))
        return {
            field: key.seal(value.encode(), _field_place(org, user_id, field))
            for field, value in values.items()
        }

    async def _user(self, row: asyncpg.Record) -> User:
        org, user_id = row["org"], row["user_id"]
        stored: dict[str, list[object]] = row["fields"] or {}
        return User(
            org=org,
            user_id=user_id,
            fields={
                field: await self._vault.open(
                    bytes.fromhex(str(value)), _field_place(org, user_id, field)
                )
                for field, (value, _) in stored.items()
            },
            arrived={field: int(str(arrived)) for field, (_, arrived) in stored.items()},
            customer_id=await self._id(row, "customer"),
            contact_id=await self._id(row, "contact"),
            revision=row["revision"],
        )

    async def _id(self, row: asyncpg.Record, name: str) -> str | None:
        sealed = row[f"{name}_sealed"]
        return sealed and await self._vault.open(sealed, _place(name, row["org"], row["user_id"]))


def _field_place(org: str, user_id: str, field: str) -> str:
    return f"billing.user_fields.{field}:{org}:{user_id}"


def _place(name: str, org: str, user_id: str) -> str:
    return f"billing.users.{name}:{org}:{user_id}"
