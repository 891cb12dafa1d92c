"""Find rows by a sealed value, through the `blind_index` table of a service's schema."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import asyncpg

from shared.crypto.blind_index import BlindIndex
from shared.storage.pool import PooledConnection

IndexRow = tuple[str, str, bytes, str, str]
"""(org, kind, index, key_id, row): the columns of a `blind_index` table, in this order."""


class StatementRecorder(Protocol):
    """Collects statements for one later transaction, as a unit of work does."""

    def record(self, sql: str, *args: object) -> None: ...


class BlindIndexTable:
    """`kind` is what the value is (`email`, `customer`), `row` is our id of the row that has it."""

    def __init__(self, pool: asyncpg.Pool, index: BlindIndex, schema: str) -> None:
        self._pool = pool
        self._index = index
        self._insert = f"""
            INSERT INTO {schema}.blind_index (org, kind, index, key_id, row)
            VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING
        """  # noqa: S608 - a constant
        self._delete = f"""
            DELETE FROM {schema}.blind_index WHERE org = $1 AND kind = $2 AND row = $3
        """  # noqa: S608 - a constant
        self._select = f"""
            SELECT DISTINCT row FROM {schema}.blind_index
            WHERE org = $1 AND kind = $2 AND index = ANY($3::bytea[])
        """  # noqa: S608 - a constant

    async def find(self, org: str, kind: str, value: str) -> str | None:
        """The row that has this value. None when no row has it, or several do."""
        rows = await self.find_all(org, kind, value)
        return rows[0] if len(rows) == 1 else None

    async def find_all(self, org: str, kind: str, value: str) -> list[str]:
        """Every row that has this value, or had it before without `remove`."""
        rows = await self._pool.fetch(self._select, org, kind, self.digests(org, kind, [value]))
        return [row["row"] for row in rows]

    def add(self, work: StatementRecorder, org: str, kind: str, value: str, row: str) -> None:
        """Make the row findable by the value once the work is committed."""
        for index_row in self.rows(org, kind, value, row):
            work.record(self._insert, *index_row)

    def remove(self, work: StatementRecorder, org: str, kind: str, row: str) -> None:
        """Make the row no longer findable by any value of this kind once the work is committed."""
        work.record(self._delete, org, kind, row)

    async def insert(self, connection: PooledConnection, rows: Iterable[IndexRow]) -> None:
        """Insert rows now, in the connection's transaction."""
        await connection.executemany(self._insert, list(rows))

    async def delete(self, connection: PooledConnection, org: str, kind: str, row: str) -> None:
        """Delete the row's entries of this kind now, in the connection's transaction."""
        await connection.execute(self._delete, org, kind, row)

    def rows(self, org: str, kind: str, value: str, row: str) -> list[IndexRow]:
        """The table's rows for a value: one per index key in use."""
        entries = self._index.of(org, kind, value)
        return [(org, kind, entry.index, entry.key_id, row) for entry in entries]

    def digests(self, org: str, kind: str, values: Iterable[str]) -> list[bytes]:
        """The indexes under which any of the values may be stored, for statements with a join."""
        return [entry.index for value in values for entry in self._index.of(org, kind, value)]
