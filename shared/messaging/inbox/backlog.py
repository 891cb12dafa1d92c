"""Measure what is open in the inbox, and what was given up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import asyncpg

from shared.storage.pool import unavailable_when_down


@dataclass(frozen=True, slots=True)
class OpenMessages:
    """The open messages of an organization that wait for the same kind of thing.

    `is_off_line`: they wait for a fact or for a person, and hold nobody up.
    """

    org: str
    reason: str
    is_off_line: bool
    rows: int
    bytes: int
    oldest_s: float


class Backlog:
    """The open messages of one service's schema. Raises `Unavailable` during an outage."""

    def __init__(self, pool: asyncpg.Pool, schema: str) -> None:
        self._pool = pool
        self._open_sql = f"""
            SELECT org, coalesce(wait, 'turn'),
                   state <> 'in_line' OR coalesce(wait, '') IN ('person', 'release'),
                   count(*), coalesce(sum(pg_column_size(body)), 0)::bigint,
                   coalesce(extract(epoch FROM clock_timestamp() - min(accepted_at)), 0)::float8
            FROM {schema}.inbox GROUP BY 1, 2, 3
            """  # noqa: S608
        self._oldest_sql = f"""
            SELECT extract(epoch FROM clock_timestamp() - min(accepted_at))::float8
            FROM {schema}.inbox WHERE org = $1
            """  # noqa: S608
        self._dead_sql = f"""
            SELECT org, code, count(*) FROM {schema}.dead_letters
            WHERE state = 'waiting' GROUP BY org, code
            """  # noqa: S608

    async def open_messages(self) -> list[OpenMessages]:
        with unavailable_when_down():
            return [OpenMessages(*row) for row in await self._pool.fetch(self._open_sql)]

    async def dead_letters(self) -> Mapping[tuple[str, str], int]:
        """How many wait for somebody, by organization and code."""
        with unavailable_when_down():
            rows = await self._pool.fetch(self._dead_sql)
        return {(org, code): count for org, code, count in rows}

    async def oldest_s(self, org: str) -> float:
        """Seconds since the oldest open message was accepted. 0 when none is open."""
        with unavailable_when_down():
            age: float | None = await self._pool.fetchval(self._oldest_sql, org)
        return age or 0.0
