"""All SQL of decisions: which command had the last word on a subscription."""

from __future__ import annotations

from typing import Literal

import asyncpg

from shared.messaging.handling.unit_of_work import UnitOfWork

DecisionTopic = Literal["renewal", "plan"]

_TAKE = """
    INSERT INTO billing.decisions AS d (org, subscription_id, about, arrived)
    VALUES ($1, $2, $3, $4)
    ON CONFLICT (org, subscription_id, about) DO UPDATE SET arrived = excluded.arrived
    WHERE d.arrived < excluded.arrived
"""


class Decisions:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def take(self, work: UnitOfWork, subscription_id: str, about: DecisionTopic) -> bool:
        """Let this command have the last word; False when a later one has had it.

        A command that overtakes the subscription's request waits outside the line, and may come
        back after what was sent, and done, later.
        """
        last = await self._pool.fetchval(
            """
            SELECT arrived FROM billing.decisions
            WHERE org = $1 AND subscription_id = $2 AND about = $3
            """,
            work.org,
            subscription_id,
            about,
        )
        if last is not None and last > work.arrived:
            return False
        work.record(_TAKE, work.org, subscription_id, about, work.arrived)
        return True
