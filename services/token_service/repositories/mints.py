"""What was asked of the accounts server lately, and why nothing is asked just now."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import asyncpg

# finance reference §1.4: 10 requests in 10 minutes, then blocked; 10 live tokens, then the oldest
# dies without a word.
_MINTS: Final = 10
_WINDOW_S: Final = 600.0
_LIVE: Final = 10


@dataclass(frozen=True)
class MintPause:
    code: str
    retry_after_s: float


class Mints:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def turn(self, org: str) -> AsyncIterator[None]:
        """One replica at a time. The lock is the connection's: it dies with a killed replica."""
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(
                "SELECT pg_advisory_xact_lock(hashtext('token.mints'), hashtext($1))", org
            )
            yield

    async def pause(self, org: str, client: bytes) -> MintPause | None:
        """Why not to mint now: the last failure, or a budget that is used up."""
        row = await self._pool.fetchrow(
            """
            WITH recent AS (
                SELECT asked_at FROM token.mints
                WHERE org = $1 AND asked_at > clock_timestamp() - make_interval(secs => $4)
            ), live AS (
                SELECT expires_at FROM token.access_tokens
                WHERE org = $1 AND client = $2 AND invalid_at IS NULL
                  AND expires_at > clock_timestamp()
            ), reasons AS (
                SELECT code, until FROM token.pauses WHERE org = $1 AND client = $2
                UNION ALL
                SELECT 'mint_budget', min(asked_at) + make_interval(secs => $4)
                FROM recent HAVING count(*) >= $3
                UNION ALL
                SELECT 'mint_budget', min(expires_at) FROM live HAVING count(*) >= $5
            )
            SELECT code, extract(epoch FROM until - clock_timestamp())::float8 AS wait_s
            FROM reasons WHERE until > clock_timestamp() ORDER BY until DESC LIMIT 1
            """,
            org,
            client,
            _MINTS,
            _WINDOW_S,
            _LIVE,
        )
        return MintPause(row["code"], row["wait_s"]) if row else None

    async def begin(self, org: str) -> int:
        """Spend one of the budget; forgets what is older than a day."""
        number: int = await self._pool.fetchval(
            """
            WITH forgotten AS (
                DELETE FROM token.mints
                WHERE org = $1 AND asked_at < clock_timestamp() - interval '1 day'
            )
            INSERT INTO token.mints (org) VALUES ($1) RETURNING id
            """,
            org,
        )
        return number

    async def succeeded(self, number: int, org: str, client: bytes) -> None:
        await self._pool.execute(
            """
            WITH ended AS (DELETE FROM token.pauses WHERE org = $2 AND client = $3)
            UPDATE token.mints SET outcome = 'minted' WHERE id = $1
            """,
            number,
            org,
            client,
        )

    async def failed(self, number: int, org: str, client: bytes, code: str, pause_s: float) -> None:
        await self._pool.execute(
            """
            WITH paused AS (
                INSERT INTO token.pauses (org, client, code, until)
                VALUES ($2, $3, $4, clock_timestamp() + make_interval(secs => $5))
                ON CONFLICT (org, client) DO UPDATE
                SET code = excluded.code, until = excluded.until
            )
            UPDATE token.mints SET outcome = $4 WHERE id = $1
            """,
            number,
            org,
            client,
            code,
            pause_s,
        )

    async def ended(self, number: int, outcome: str) -> None:
        """A request that says nothing about the next one."""
        await self._pool.execute(
            "UPDATE token.mints SET outcome = $2 WHERE id = $1", number, outcome
        )

    async def standing(self, org: str, client: bytes) -> str | None:
        """Why the last request with these credentials failed; None once one has succeeded."""
        code: str | None = await self._pool.fetchval(
            "SELECT code FROM token.pauses WHERE org = $1 AND client = $2", org, client
        )
        return code

    async def left(self, org: str) -> int:
        """How many more may be asked for within the window."""
        asked: int = await self._pool.fetchval(
            """
            SELECT count(*) FROM token.mints
            WHERE org = $1 AND asked_at > clock_timestamp() - make_interval(secs => $2)
            """,
            org,
            _WINDOW_S,
        )
        return max(_MINTS - asked, 0)
