"""Read which accepted messages are not settled, in any service. SQL of the inboxes."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

from services.operator.repositories.schemas import migrated


@dataclass(frozen=True)
class Stuck:
    """The head of a line, or a message in none, that has not been settled for long.

    `behind`: how many commands of the same subject wait for it. `lapsed`: its lease ran out, so
    its process died or hangs. The next delivery takes it up.
    """

    service: str
    org: str
    routing_key: str
    message_id: str
    state: str
    lapsed: bool
    attempts: int
    behind: int
    age_s: float


class Inboxes:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def stuck(self, older_than_s: float, limit: int) -> list[Stuck]:
        """The oldest first, at most `limit` of each service."""
        found = []
        for service, schema in (await migrated(self._pool)).items():
            rows = await self._pool.fetch(_STUCK.format(schema=schema), older_than_s, limit)
            found += [Stuck(service, **dict(row)) for row in rows]
        return sorted(found, key=lambda stuck: -stuck.age_s)


_STUCK = """
    SELECT x.org, x.routing_key, x.message_id, x.state,
           x.state = 'claimed' AND x.leased_until <= clock_timestamp() AS lapsed, x.attempts,
           CASE WHEN x.place IS NULL THEN 0 ELSE (
               SELECT count(*) FROM {schema}.inbox b
               WHERE b.org = x.org AND b.subject = x.subject AND b.place > x.place) END AS behind,
           extract(epoch FROM clock_timestamp() - x.first_seen_at)::float8 AS age_s
    FROM {schema}.inbox x
    WHERE x.settled_at IS NULL
      AND x.first_seen_at <= clock_timestamp() - make_interval(secs => $1)
      AND (x.place IS NULL OR NOT EXISTS (
               SELECT FROM {schema}.inbox e
               WHERE e.org = x.org AND e.subject = x.subject AND e.place < x.place))
    ORDER BY x.first_seen_at LIMIT $2
    """
