"""Read which contacts CRM refuses. SQL of crm-worker's contacts."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg


@dataclass(frozen=True)
class RefusedContact:
    """`code` is CRM's, or ours. `changed_by_id`: the message that changed the contact last."""

    org: str
    user_id: str
    code: str
    changed_by_key: str
    changed_by_id: str | None
    age_s: float


class RefusedContacts:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def all(self, limit: int) -> list[RefusedContact]:
        """Return the contacts whose present state is refused, the longest refused first."""
        rows = await self._pool.fetch(
            """
            SELECT org, user_id, refused_code AS code, changed_by_key, changed_by_id,
                   extract(epoch FROM clock_timestamp() - refused_at)::float8 AS age_s
            FROM crm.contacts
            WHERE sent_version < refused_version AND refused_version = wanted_version
              AND refused_at IS NOT NULL AND refused_code IS NOT NULL
            ORDER BY refused_at LIMIT $1
            """,
            limit,
        )
        return [RefusedContact(**dict(row)) for row in rows]
