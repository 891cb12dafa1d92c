"""Read which accepted messages are not settled, in any service. SQL of the inboxes."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

from services.operator.repositories.schemas import migrated


@dataclass(frozen=True)
class Stuck:
    """The head of a line, or a message off its line, that has not been settled for long.

    `behind`: how many messages of its line wait for it. `lapsed`: its lease ran out, so its process
    died or hangs, and another replica takes it over.
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
        """Return the oldest first, at most `limit` of each service."""
        stuck: list[Stuck] = []
        for service, schema in (await migrated(self._pool)).items():
            rows = await self._pool.fetch(_STUCK.format(schema=schema), older_than_s, limit)
            stuck += [Stuck(service, **dict(row)) for row in rows]
        return sorted(stuck, key=lambda message: -message.age_s)


_STUCK = """
    SELECT x.org, x.routing_key, x.message_id,
           CASE WHEN l.leased_arrived = x.arrived THEN 'leased'
                WHEN x.state = 'in_line' THEN coalesce(x.wait, 'turn') ELSE x.state END AS state,
           coalesce(l.leased_arrived = x.arrived AND l.leased_until <= clock_timestamp(), false)
               AS lapsed,
           x.attempt AS attempts,
           CASE WHEN x.state <> 'in_line' THEN 0 ELSE (
               SELECT count(*) FROM {schema}.inbox b
               WHERE b.org = x.org AND b.line = x.line AND b.state = 'in_line'
                 AND b.place > x.place) END AS behind,
           extract(epoch FROM clock_timestamp() - x.accepted_at)::float8 AS age_s
    FROM {schema}.inbox x
    LEFT JOIN {schema}.lines l ON l.org = x.org AND l.line = x.line
    WHERE x.accepted_at <= clock_timestamp() - make_interval(secs => $1)
      AND (x.state <> 'in_line' OR NOT EXISTS (
               SELECT FROM {schema}.inbox e
               WHERE e.org = x.org AND e.line = x.line AND e.state = 'in_line'
                 AND e.place < x.place))
    ORDER BY x.accepted_at LIMIT $2
    """
