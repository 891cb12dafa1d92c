"""Read what stands of a user, and how each erasure stands. SQL of the schema `relay`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from services.operator.repositories.schemas import with_inbox

_STATES: Final = """
    SELECT t.org, t.user_id, t.asked_at, t.asked_by, t.ended_at,
           extract(epoch FROM coalesce(t.ended_at, clock_timestamp()) - t.asked_at)::float8
               AS age_s,
           CASE WHEN t.ended_at IS NULL THEN ARRAY(
               SELECT e.product || coalesce(' (' || p.waits_for || ')', '')
               FROM relay.erasing_products e
               LEFT JOIN relay.erasure_parts p
                 ON p.org = t.org AND p.user_id = t.user_id AND p.product = e.product
               WHERE p.ended_at IS NULL ORDER BY e.product) ELSE '{}' END AS missing
    FROM relay.tombstones t
"""


@dataclass(frozen=True)
class ErasureState:
    """`missing`: products whose part has not ended, each with what it waits for, where known."""

    org: str
    user_id: str
    asked_at: datetime
    asked_by: str | None
    ended_at: datetime | None
    missing: list[str]
    age_s: float


@dataclass(frozen=True)
class UserRows:
    """How much a service has of a user. `open_messages`: accepted and not settled."""

    service: str
    rows: int
    open_messages: int
    dead_letters: int


class OperatorErasures:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def states(self, *, open_only: bool, limit: int) -> list[ErasureState]:
        """Return the erasures, those that have not ended first, the oldest of these first."""
        rows = await self._pool.fetch(
            f"""
            {_STATES} WHERE NOT $1 OR t.ended_at IS NULL
            ORDER BY t.ended_at IS NOT NULL,
                     CASE WHEN t.ended_at IS NULL THEN t.asked_at END, t.ended_at DESC
            LIMIT $2
            """,
            open_only,
            limit,
        )
        return [ErasureState(**dict(row)) for row in rows]

    async def state(self, org: str, user_id: str) -> ErasureState | None:
        """Return the user's erasure. None when nobody asked for one."""
        row = await self._pool.fetchrow(
            f"{_STATES} WHERE t.org = $1 AND t.user_id = $2",
            org,
            user_id,
        )
        return ErasureState(**dict(row)) if row else None

    async def products(self) -> list[str]:
        """Return the products whose part an erasure needs."""
        rows = await self._pool.fetch("SELECT product FROM relay.erasing_products ORDER BY product")
        return [row["product"] for row in rows]

    async def rows_of(self, org: str, user_id: str) -> list[UserRows]:
        """Count what each service has of the user, in whatever tables."""
        return [
            UserRows(
                service,
                await self._count(schema, org, user_id),
                await self._in_line(f"{schema}.inbox", org, user_id),
                await self._in_line(f"{schema}.dead_letters", org, user_id),
            )
            for service, schema in (await with_inbox(self._pool)).items()
        ]

    async def _count(self, schema: str, org: str, user_id: str) -> int:
        tables = await self._pool.fetch(
            "SELECT table_id::regclass::text AS name FROM relay.tables_of_users($1)", schema
        )
        return sum(
            [
                await self._pool.fetchval(
                    # The name comes from the database's own catalogue.
                    f"SELECT count(*) FROM {table['name']} WHERE org = $1 AND user_id = $2",  # noqa: S608
                    org,
                    user_id,
                )
                for table in tables
            ]
        )

    async def _in_line(self, table: str, org: str, user_id: str) -> int:
        count: int = await self._pool.fetchval(
            f"SELECT count(*) FROM {table} WHERE org = $1 AND line = $2",  # noqa: S608
            org,
            f"user:{user_id}",
        )
        return count
