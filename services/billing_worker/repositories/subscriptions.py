"""All SQL of subscriptions: Zoho's state of them, as far as we have seen it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

import asyncpg

from shared.crypto.blind_index import BlindIndex
from shared.crypto.envelope import UserKey, Vault
from shared.messaging.handling.unit_of_work import UnitOfWork

Origin = Literal["application", "zoho"]

_COLUMNS = """org, subscription_id, user_id, zoho_id_sealed, origin, status, plan_code, quantity,
    term_ends_at, zoho_updated_at, read_at, requested_plan"""

_PUT = """
    INSERT INTO billing.subscriptions
        (org, subscription_id, user_id, zoho_id_sealed, origin, status, plan_code, quantity,
         term_ends_at, zoho_updated_at, read_at, requested_plan)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
    ON CONFLICT (org, subscription_id) DO UPDATE
    SET status = excluded.status, plan_code = excluded.plan_code, quantity = excluded.quantity,
        term_ends_at = excluded.term_ends_at, zoho_updated_at = excluded.zoho_updated_at,
        read_at = excluded.read_at
"""

_READ = """
    UPDATE billing.subscriptions SET read_at = greatest(read_at, $3)
    WHERE org = $1 AND subscription_id = $2
"""

_INDEX = """
    INSERT INTO billing.blind_index (org, kind, index, key_id, row)
    VALUES ($1, 'subscription', $2, $3, $4) ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True)
class StoredSubscription:
    org: str
    subscription_id: str
    user_id: str
    zoho_id: str
    origin: Origin
    status: str
    plan_code: str | None
    quantity: Decimal | None
    term_ends_at: date | None
    zoho_updated_at: datetime | None
    read_at: datetime | None
    requested_plan: str | None = None  # what the command asked for that made it


class Subscriptions:
    def __init__(self, pool: asyncpg.Pool, vault: Vault, index: BlindIndex) -> None:
        self._pool = pool
        self._vault = vault
        self._index = index

    def id_of(self, org: str, zoho_id: str) -> str:
        """Our id of a subscription that Zoho's staff made: the same each time."""
        digest = self._index.of(org, "our subscription id", zoho_id)[0].index
        return "sub_" + base64.b32encode(digest[:15]).decode().lower()

    async def get(self, org: str, subscription_id: str) -> StoredSubscription | None:
        row = await self._pool.fetchrow(
            f"SELECT {_COLUMNS} FROM billing.subscriptions"  # noqa: S608 - a constant
            " WHERE org = $1 AND subscription_id = $2",
            org,
            subscription_id,
        )
        return await self._stored(row) if row else None

    async def of_user(self, org: str, user_id: str) -> list[StoredSubscription]:
        """All that the user ever had, the oldest first."""
        rows = await self._pool.fetch(
            f"SELECT {_COLUMNS} FROM billing.subscriptions"  # noqa: S608 - a constant
            " WHERE org = $1 AND user_id = $2 ORDER BY created_at, subscription_id",
            org,
            user_id,
        )
        return [await self._stored(row) for row in rows]

    async def with_zoho_id(self, org: str, zoho_id: str) -> StoredSubscription | None:
        found = await self._pool.fetchval(
            """
            SELECT row FROM billing.blind_index
            WHERE org = $1 AND kind = 'subscription' AND index = ANY($2) LIMIT 1
            """,
            org,
            [entry.index for entry in self._index.of(org, "subscription", zoho_id)],
        )
        return await self.get(org, found) if found else None

    async def put(self, work: UnitOfWork, one: StoredSubscription) -> None:
        """Record the state; a new subscription can be found by Zoho's id afterwards."""
        place = _place(one.org, one.subscription_id)
        sealed = await self._vault.seal(UserKey(one.org, one.user_id), one.zoho_id, place)
        work.record(
            _PUT,
            one.org,
            one.subscription_id,
            one.user_id,
            sealed,
            one.origin,
            one.status,
            one.plan_code,
            one.quantity,
            one.term_ends_at,
            one.zoho_updated_at,
            one.read_at,
            one.requested_plan,
        )
        for entry in self._index.of(one.org, "subscription", one.zoho_id):
            work.record(_INDEX, one.org, entry.index, entry.key_id, one.subscription_id)

    def record_read(self, work: UnitOfWork, one: StoredSubscription, read_at: datetime) -> None:
        """It was read and found unchanged: hints received before that are answered."""
        work.record(_READ, one.org, one.subscription_id, read_at)

    async def now(self) -> datetime:
        """PostgreSQL's clock, the one that all replicas share."""
        moment: datetime = await self._pool.fetchval("SELECT clock_timestamp()")
        return moment

    async def _stored(self, row: asyncpg.Record) -> StoredSubscription:
        place = _place(row["org"], row["subscription_id"])
        zoho_id = await self._vault.open(row["zoho_id_sealed"], place)
        return StoredSubscription(
            zoho_id=zoho_id,
            **{name: value for name, value in row.items() if name != "zoho_id_sealed"},
        )


def _place(org: str, subscription_id: str) -> str:
    return f"billing.subscriptions.zoho_id:{org}:{subscription_id}"
