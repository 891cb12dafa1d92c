"""Keep the bindings that services need, for whoever has to declare an exchange anew."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import asyncpg

from shared.storage.pool import unavailable_when_down


class Binding(NamedTuple):
    queue: str
    exchange: str
    routing_key: str


class Bindings:
    """The bindings of all services. Raises `Unavailable` during an outage of the database.

    A deleted exchange takes everybody's bindings with it. An event that is published before they
    are back is dropped, so they come back with the exchange.
    """

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def record(self, needed: Collection[Binding]) -> None:
        with unavailable_when_down():
            await self._pool.execute(
                """
                INSERT INTO relay.bindings (queue, exchange, routing_key)
                SELECT * FROM unnest($1::text[], $2::text[], $3::text[]) ORDER BY 1, 2, 3
                ON CONFLICT DO NOTHING
                """,
                *([*column] for column in zip(*needed, strict=True)),
            )

    async def all(self) -> list[Binding]:
        with unavailable_when_down():
            rows = await self._pool.fetch(
                "SELECT queue, exchange, routing_key FROM relay.bindings ORDER BY 1, 2, 3"
            )
        return [Binding(*row) for row in rows]
