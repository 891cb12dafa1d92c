"""Find which keys of the rings the database needs. SQL of the data keys and the blind indexes."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import asyncpg

_BLIND_INDEXES = ("billing", "crm", "desk")


@dataclass(frozen=True)
class WrappingKey:
    """`data_key`: one of those that it wraps, to try it on."""

    key_id: str
    data_keys: int
    data_key: UUID


class KeyUse:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def wrapping(self) -> list[WrappingKey]:
        rows = await self._pool.fetch(
            """
            SELECT key_id, count(*) AS data_keys, (array_agg(id ORDER BY created_at DESC))[1] AS id
            FROM relay.data_keys WHERE wrapped IS NOT NULL GROUP BY key_id ORDER BY key_id
            """
        )
        return [WrappingKey(row["key_id"], row["data_keys"], row["id"]) for row in rows]

    async def indexing(self) -> set[str]:
        """Return the ids of the keys in use by the blind indexes of all started services."""
        key_ids: set[str] = set()
        for schema in _BLIND_INDEXES:
            if await self._pool.fetchval("SELECT to_regclass($1)", f"{schema}.blind_index"):
                rows = await self._pool.fetch(
                    f"SELECT DISTINCT key_id FROM {schema}.blind_index"  # noqa: S608 - a constant
                )
                key_ids |= {row["key_id"] for row in rows}
        return key_ids
