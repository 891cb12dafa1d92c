"""Hold all SQL of users: who signed up with which email."""

from __future__ import annotations

import asyncpg

from shared.crypto.blind_index import BlindIndex
from shared.crypto.blind_index_table import BlindIndexTable
from shared.messaging.handling.unit_of_work import UnitOfWork

_KNOW = "SELECT desk.know_user($1, $2, $3, $4, $5)"
_OF_SIGN_UPS, _OF_ESCALATIONS = "user email", "email"


class Users:
    """Finds users by email. None of their data is kept, only blind indexes of the emails."""

    def __init__(self, pool: asyncpg.Pool, index: BlindIndex) -> None:
        self._pool = pool
        self._index = index
        self._table = BlindIndexTable(pool, index, "desk")

    def know(self, work: UnitOfWork, user_id: str, email: str, *, arrived: int) -> None:
        """Find the user by this email from now on, unless a newer command gave another."""
        # What normalizes the email is the index, so that both kinds compare alike.
        entries = self._index.of(work.org, _OF_ESCALATIONS, email)
        indexes = [entry.index for entry in entries]
        work.record(_KNOW, work.org, user_id, arrived, indexes, [e.key_id for e in entries])

    async def with_email(self, org: str, email: str) -> str | None:
        """Return the one user with this email. None when there is none, or more.

        Who signed up with it comes before who only escalated under it. Users who asked to be
        forgotten are not found.
        """
        digests = self._table.digests(org, _OF_ESCALATIONS, [email])
        rows = await self._pool.fetch(
            """
            SELECT DISTINCT kind, row FROM desk.blind_index b
            WHERE org = $1 AND kind = ANY ($2) AND index = ANY ($3::bytea[])
              AND NOT EXISTS (SELECT FROM relay.tombstones t
                              WHERE t.org = b.org AND t.user_id = b.user_id)
            """,
            org,
            [_OF_SIGN_UPS, _OF_ESCALATIONS],
            digests,
        )
        signed_up = {row["row"] for row in rows if row["kind"] == _OF_SIGN_UPS}
        found = signed_up or {row["row"] for row in rows}
        return found.pop() if len(found) == 1 else None

    async def any_known(self, org: str) -> bool:
        """Whether anybody signed up, whose tickets may come."""
        return bool(
            await self._pool.fetchval("SELECT EXISTS (SELECT FROM desk.users WHERE org = $1)", org)
        )
