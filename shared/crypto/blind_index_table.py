"""Find rows by a sealed value, through the `blind_index` table of a service's schema."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import asyncpg

from shared.crypto.blind_index import BlindIndex
from shared.storage.pool import PooledConnection

IndexRow = tuple[str, str, bytes, str, str, str | None]
"""(org, kind, index, key_id, row, user_id): the columns of a `blind_index` table, in this order."""


class StatementRecorder(Protocol):
    """Collects statements for one later transaction, as a unit of work does."""

    def record(self, sql: str, *args: object) -> None: ...


class BlindIndexTable:
    """`kind` is what the value is (`email`, `customer`), `row` is our id of the row that has it.

    `user_id` says whose the row is: an erasure deletes the user's entries, and from the moment it
    is asked for they are found by nobody but `owners`.
    """

    def __init__(self, pool: asyncpg.Pool, index: BlindIndex, schema: str) -> None:
        self._pool = pool
        self._index = index
        self._insert = f"""
            INSERT INTO {schema}.blind_index (org, kind, index, key_id, row, user_id)
            VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING
        """  # noqa: S608 - a constant
        self._delete = f"""
            DELETE FROM {schema}.blind_index WHERE org = $1 AND kind = $2 AND row = $3
        """  # noqa: S608 - a constant
        self._owners = f"""
            SELECT DISTINCT row FROM {schema}.blind_index b
            WHERE org = $1 AND kind = $2 AND index = ANY($3::bytea[])
        """  # noqa: S608 - a constant
        self._select = f"""{self._owners} AND NOT EXISTS (
            SELECT FROM relay.tombstones t WHERE t.org = b.org AND t.user_id = b.user_id)
        """

    async def find(self, org: str, kind: str, value: str) -> str | None:
        """The row that has this value. None when no row has it, or several do."""
        rows = await self.find_all(org, kind, value)
        return rows[0] if len(rows) == 1 else None

    async def find_all(self, org: str, kind: str, value: str) -> list[str]:
        """Every row that has this value, or had it before without `remove`.

        Not those of users who asked to be forgotten.
        """
        return await self._rows(self._select, org, kind, value)

    async def owners(self, org: str, kind: str, value: str) -> list[str]:
        """As `find_all`, with those of users who asked to be forgotten: it is still theirs."""
        return await self._rows(self._owners, org, kind, value)

    async def _rows(self, sql: str, org: str, kind: str, value: str) -> list[str]:
        rows = await self._pool.fetch(sql, org, kind, self.digests(org, kind, [value]))
        return [row["row"] for row in rows]

    def add(
        self,
        work: StatementRecorder,
        org: str,
        kind: str,
        value: str,
        row: str,
        *,
        user_id: str | None,
    ) -> None:
        """Make the row findable by the value once the work is committed."""
        for index_row in self.rows(org, kind, value, row, user_id=user_id):
            work.record(self._insert, *index_row)

    def remove(self, work: StatementRecorder, org: str, kind: str, row: str) -> None:
        """Make the row no longer findable by any value of this kind once the work is committed."""
        work.record(self._delete, org, kind, row)

    async def insert(self, connection: PooledConnection, rows: Iterable[IndexRow]) -> None:
        """Insert rows now, in the connection's transaction."""
        await connection.executemany(self._insert, list(rows))

    def rows(
        self, org: str, kind: str, value: str, row: str, *, user_id: str | None
    ) -> list[IndexRow]:
        """The table's rows for a value: one per index key in use."""
        entries = self._index.of(org, kind, value)
        return [(org, kind, entry.index, entry.key_id, row, user_id) for entry in entries]

    def digests(self, org: str, kind: str, values: Iterable[str]) -> list[bytes]:
        """The indexes under which any of the values may be stored, for statements with a join."""
        return [entry.index for value in values for entry in self._index.of(org, kind, value)]
