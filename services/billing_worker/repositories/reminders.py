"""Hold all SQL of reminders: which were passed on to users, so that each is passed on once."""

from __future__ import annotations

from uuid import UUID

import asyncpg

from shared.messaging.handling.unit_of_work import UnitOfWork

# Without ON CONFLICT on purpose: when two pass on the same reminder at once, one must fail.
_ADD = "INSERT INTO billing.reminders (org, reminder_id) VALUES ($1, $2)"


class Reminders:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def was_sent(self, org: str, reminder_id: UUID) -> bool:
        sent: bool = await self._pool.fetchval(
            """
            SELECT EXISTS (SELECT FROM billing.reminders WHERE org = $1 AND reminder_id = $2)
            """,
            org,
            reminder_id,
        )
        return sent

    def add(self, work: UnitOfWork, reminder_id: UUID) -> None:
        """Record one being passed on. The commit fails when another passes it on too."""
        work.record(_ADD, work.org, reminder_id)
