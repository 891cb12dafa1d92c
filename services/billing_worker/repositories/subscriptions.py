"""Hold all SQL of subscriptions: the last state of Zoho's that we saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

import asyncpg
import orjson

from shared.contracts.events import Origin
from shared.crypto.blind_index import BlindIndex
from shared.crypto.blind_index_table import BlindIndexTable
from shared.crypto.envelope import UserKey, Vault
from shared.crypto.opaque_ids import opaque_id
from shared.crypto.sealed_columns import SealedColumns
from shared.messaging.handling.unit_of_work import UnitOfWork

_COLUMNS = """org, subscription_id, user_id, zoho_id_sealed, origin, status, plan_code, quantity,
    addons, term_ends_at, zoho_updated_at, read_at, requested_plan"""

_SAVE = """
    INSERT INTO billing.subscriptions
        (org, subscription_id, user_id, zoho_id_sealed, origin, status, plan_code, quantity,
         term_ends_at, zoho_updated_at, read_at, requested_plan, addons)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
    ON CONFLICT (org, subscription_id) DO UPDATE
    SET status = excluded.status, plan_code = excluded.plan_code, quantity = excluded.quantity,
        term_ends_at = excluded.term_ends_at, zoho_updated_at = excluded.zoho_updated_at,
        read_at = excluded.read_at, addons = excluded.addons
"""

_READ = """
    UPDATE billing.subscriptions SET read_at = greatest(read_at, $3)
    WHERE org = $1 AND subscription_id = $2
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
    requested_plan: str | None = None  # the plan in the command that created it
    addons: Mapping[str, int] = field(default_factory=dict)  # how often, by code: recurring ones


class Subscriptions:
    def __init__(self, pool: asyncpg.Pool, vault: Vault, index: BlindIndex) -> None:
        self._pool = pool
        self._index = index
        self._sealed = SealedColumns(vault, "billing.subscriptions")
        self._by_zoho_id = BlindIndexTable(pool, index, "billing")

    def id_of(self, org: str, zoho_id: str) -> str:
        """Our id of a subscription that staff made at Zoho: always the same."""
        return opaque_id(self._index, org, "sub", zoho_id)

    async def get(self, org: str, subscription_id: str) -> StoredSubscription | None:
        row = await self._pool.fetchrow(
            f"SELECT {_COLUMNS} FROM billing.subscriptions"  # noqa: S608 - a constant
            " WHERE org = $1 AND subscription_id = $2",
            org,
            subscription_id,
        )
        return await self._stored(row) if row else None

    async def list_for_user(self, org: str, user_id: str) -> list[StoredSubscription]:
        """Every subscription the user ever had, oldest first."""
        rows = await self._pool.fetch(
            f"SELECT {_COLUMNS} FROM billing.subscriptions"  # noqa: S608 - a constant
            " WHERE org = $1 AND user_id = $2 ORDER BY created_at, subscription_id",
            org,
            user_id,
        )
        return [await self._stored(row) for row in rows]

    async def find_by_zoho_id(self, org: str, zoho_id: str) -> StoredSubscription | None:
        subscription_id = await self._by_zoho_id.find(org, "subscription", zoho_id)
        return await self.get(org, subscription_id) if subscription_id else None

    async def save(self, work: UnitOfWork, subscription: StoredSubscription) -> None:
        """Record the state. A new subscription can be found by Zoho's id afterwards."""
        org, row = subscription.org, subscription.subscription_id
        owner = UserKey(org, subscription.user_id)
        sealed = await self._sealed.seal(owner, "zoho_id", row, subscription.zoho_id)
        work.record(
            _SAVE,
            org,
            row,
            subscription.user_id,
            sealed,
            subscription.origin,
            subscription.status,
            subscription.plan_code,
            subscription.quantity,
            subscription.term_ends_at,
            subscription.zoho_updated_at,
            subscription.read_at,
            subscription.requested_plan,
            orjson.dumps(subscription.addons, option=orjson.OPT_SORT_KEYS).decode(),
        )
        self._by_zoho_id.add(
            work, org, "subscription", subscription.zoho_id, row, user_id=subscription.user_id
        )
        work.record_name("subscription", subscription.subscription_id, subscription.user_id)
        work.record_fact("subscription", subscription.subscription_id)

    def record_read(
        self, work: UnitOfWork, subscription: StoredSubscription, read_at: datetime
    ) -> None:
        """Record that it was read and is unchanged. Webhooks received before need no read."""
        work.record(_READ, subscription.org, subscription.subscription_id, read_at)

    async def database_time(self) -> datetime:
        """The time by PostgreSQL's clock, which all replicas share."""
        moment: datetime = await self._pool.fetchval("SELECT clock_timestamp()")
        return moment

    async def _stored(self, row: asyncpg.Record) -> StoredSubscription:
        zoho_id = await self._sealed.open(
            row["org"], "zoho_id", row["subscription_id"], row["zoho_id_sealed"]
        )
        values = dict(row)
        del values["zoho_id_sealed"]
        addons = orjson.loads(values.pop("addons"))
        return StoredSubscription(zoho_id=zoho_id, addons=addons, **values)
