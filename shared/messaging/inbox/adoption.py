"""Give messages that wait for a release to the routes of this one, if it knows them."""

from __future__ import annotations

from typing import Final

import asyncpg

from shared.background import PeriodicTask
from shared.messaging.handling.routes import Routes
from shared.messaging.inbox.statements import columns
from shared.storage.clock import DatabaseClock, database_clock
from shared.storage.pool import unavailable_when_down

_EVERY_S: Final = 30.0


class Adoption(PeriodicTask):
    """Looks at the start, and every half minute after that, for as long as its context is entered.

    During a rollout a replica of the former release may take what only the next one knows. It
    stores such a message under its routing key, without priority and facts. The next release finds
    it here, also when it knows it by a pattern. The message keeps the line of its own in which it
    was stored.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        schema: str,
        routes: Routes,
        *,
        clock: DatabaseClock = database_clock,
    ) -> None:
        super().__init__("adopt messages", every_s=_EVERY_S)
        self._pool = pool
        self._routes = routes
        self._clock = clock
        self._keys_sql = f"""
            SELECT DISTINCT exchange, routing_key FROM {schema}.inbox
            WHERE wait = 'release' AND state = 'in_line' AND code = 'unknown_command'
            """  # noqa: S608
        self._adopt_sql = f"SELECT {schema}.adopt_messages($1, $2, $3, $4, $5, $6)"

    async def _run_once(self) -> bool:
        with unavailable_when_down():
            waiting = await self._pool.fetch(self._keys_sql)
            known = []
            for exchange, routing_key in waiting:
                route = self._routes.find(exchange, routing_key)
                if route is not None:
                    key = self._routes.key_of(exchange, routing_key)
                    records = ",".join(route.records) or None
                    known.append((exchange, routing_key, key, int(route.priority), records))
            if known:
                await self._pool.execute(self._adopt_sql, *columns(known, 5), self._clock())
        return False
