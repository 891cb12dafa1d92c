"""Record requests to the accounts server, and decide whether another is allowed now."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import asyncpg

# docs/zoho/finance.md §1.4: after 10 requests in 10 minutes the client is blocked.
# With 10 live tokens a new one silently invalidates the oldest.
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
        """Let in one replica at a time. The lock ends with its transaction, also at a crash."""
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(
                "SELECT pg_advisory_xact_lock(hashtext('token.mints'), hashtext($1))", org
            )
            yield

    async def pause(self, org: str, client: bytes) -> MintPause | None:
        """The reason not to mint now: the last failure or a used-up budget. None when allowed."""
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
        """Count a request against the budget. Deletes entries older than a day."""
        number: int = await self._pool.fetchval(
            """
            WITH deleted AS (
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
        """Record the outcome of a request that does not affect the next one."""
        await self._pool.execute(
            "UPDATE token.mints SET outcome = $2 WHERE id = $1", number, outcome
        )

    async def problem(self, org: str, client: bytes) -> str | None:
        """The code of the last failure with these credentials. None after a success."""
        code: str | None = await self._pool.fetchval(
            "SELECT code FROM token.pauses WHERE org = $1 AND client = $2", org, client
        )
        return code

    async def left(self, org: str) -> int:
        """The number of requests that the window still allows."""
        count: int = await self._pool.fetchval(
            """
            SELECT count(*) FROM token.mints
            WHERE org = $1 AND asked_at > clock_timestamp() - make_interval(secs => $2)
            """,
            org,
            _WINDOW_S,
        )
        return max(_MINTS - count, 0)
