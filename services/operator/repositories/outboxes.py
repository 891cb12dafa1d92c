"""Read what is committed but not yet confirmed by RabbitMQ, in any service. SQL of the outboxes."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

from services.operator.repositories.schemas import migrated


@dataclass(frozen=True)
class PendingGroup:
    """Rows of one destination. `tries`: the most that one of them has had."""

    service: str
    exchange: str
    routing_key: str
    rows: int
    tries: int
    oldest_age_s: float


class Outboxes:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def pending(self) -> list[PendingGroup]:
        """Return one group for each service and destination, the oldest first."""
        groups: list[PendingGroup] = []
        for service, schema in (await migrated(self._pool)).items():
            rows = await self._pool.fetch(
                f"""
                SELECT exchange, routing_key, count(*) AS rows, max(tries) AS tries,
                       extract(epoch FROM clock_timestamp() - min(created_at))::float8
                           AS oldest_age_s
                FROM {schema}.outbox WHERE published_at IS NULL
                GROUP BY exchange, routing_key
                """  # noqa: S608 - the schema is a constant
            )
            groups += [PendingGroup(service, **dict(row)) for row in rows]
        return sorted(groups, key=lambda group: -group.oldest_age_s)
