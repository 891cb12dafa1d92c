"""List and resolve the writes to Zoho of which nobody knows whether they were done.

For operators. The rest of the journal's SQL is in `journal.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg


@dataclass(frozen=True)
class OpenEffect:
    """`state`: intended (being done, or to be looked for) or unknown (a person decides).

    One that is intended and may be looked for (`look_in_s` is 0) waits for its message to come
    back. If that was given up, a person decides too.
    """

    org: str
    product: str
    operation: str
    business_id: str
    state: str
    age_s: float
    look_in_s: float


class OpenEffects:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def all(self, limit: int) -> list[OpenEffect]:
        """Return those that wait for a person first, then the oldest."""
        rows = await self._pool.fetch(
            """
            SELECT org, product, operation, business_id, state,
                   extract(epoch FROM clock_timestamp() - updated_at)::float8 AS age_s,
                   greatest(0, extract(epoch FROM look_after - clock_timestamp()))::float8
                       AS look_in_s
            FROM relay.effects WHERE state IN ('intended', 'unknown')
            ORDER BY state = 'unknown' DESC, look_after <= clock_timestamp() DESC, updated_at
            LIMIT $1
            """,
            limit,
        )
        return [OpenEffect(**dict(row)) for row in rows]

    async def did_not_happen(self, org: str, operation: str, business_id: str) -> bool:
        """Record that a person has seen that it was not done. The next attempt does it.

        Returns False when it is neither unknown, nor intended and overdue.
        """
        return await self._resolve("clear", org, operation, business_id)

    async def look_again(self, org: str, operation: str, business_id: str) -> bool:
        """Let the next attempt look for it in Zoho first, and act on what it sees."""
        return await self._resolve("intended", org, operation, business_id)

    async def _resolve(self, state: str, org: str, operation: str, business_id: str) -> bool:
        # Only what cannot be written any more, and under a new number: whoever still waits for its
        # answer, or looks for it just now, writes nothing over it.
        tag: str = await self._pool.execute(
            """
            UPDATE relay.effects
            SET state = $4, number = number + 1, updated_at = now(), look_after = now(),
                -- What a person has seen is not looked for once more after a restore.
                recovery =
                    coalesce((SELECT id FROM relay.recoveries WHERE state = 'open'), recovery)
            WHERE org = $1 AND operation = $2 AND business_id = $3
              AND (state = 'unknown' OR state = 'intended' AND look_after <= clock_timestamp())
            """,
            org,
            operation,
            business_id,
            state,
        )
        return tag == "UPDATE 1"
