"""Hold all SQL of decisions: the newest command on each topic of a subscription."""

from __future__ import annotations

from typing import Literal

import asyncpg

from shared.messaging.handling.unit_of_work import UnitOfWork

DecisionTopic = Literal["renewal", "plan"]

_CLAIM = """
    INSERT INTO billing.decisions AS d (org, subscription_id, about, arrived)
    VALUES ($1, $2, $3, $4)
    ON CONFLICT (org, subscription_id, about) DO UPDATE SET arrived = excluded.arrived
    WHERE d.arrived < excluded.arrived
"""


class Decisions:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def claim(self, work: UnitOfWork, subscription_id: str, about: DecisionTopic) -> bool:
        """Let this command decide the topic. False when a later command has decided it.

        A command that overtakes the subscription's request waits outside its ordering key, and
        may come back after later commands were done.
        """
        newest = await self._pool.fetchval(
            """
            SELECT arrived FROM billing.decisions
            WHERE org = $1 AND subscription_id = $2 AND about = $3
            """,
            work.org,
            subscription_id,
            about,
        )
        if newest is not None and newest > work.arrived:
            return False
        work.record(_CLAIM, work.org, subscription_id, about, work.arrived)
        return True
