"""Store minted access tokens, sealed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import asyncpg

from shared.crypto.envelope import DayKey, Vault
from shared.crypto.sealed_columns import SealedColumns

# How long before its end a token is replaced. Half of its lifetime when that is less.
_REPLACE_BEFORE_S = 300.0


@dataclass(frozen=True)
class AccessToken:
    """`expires_at` in epoch seconds."""

    access_token: str = field(repr=False)
    expires_at: float
    api_domain: str
    expires_in_s: float


class AccessTokens:
    def __init__(self, pool: asyncpg.Pool, vault: Vault) -> None:
        self._pool = pool
        self._sealed = SealedColumns(vault, "token.access_tokens")

    async def usable(
        self, org: str, client: bytes, *, allow_old: bool = False
    ) -> AccessToken | None:
        """The newest token of these credentials that is not known to be invalid.

        One that is due for replacement counts only with `allow_old`, while it has a minute left.
        """
        row = await self._pool.fetchrow(
            """
            SELECT sha256, sealed, api_domain,
                   extract(epoch FROM expires_at)::float8 AS expires_at,
                   extract(epoch FROM expires_at - clock_timestamp())::float8 AS expires_in_s
            FROM token.access_tokens
            WHERE org = $1 AND client = $2 AND invalid_at IS NULL
              AND CASE WHEN $3 THEN expires_at - interval '1 minute' ELSE refresh_at END
                  > clock_timestamp()
            ORDER BY minted_at DESC LIMIT 1
            """,
            org,
            client,
            allow_old,
        )
        if row is None:
            return None
        token = await self._sealed.open(org, "sealed", row["sha256"].hex(), row["sealed"])
        return AccessToken(token, row["expires_at"], row["api_domain"], row["expires_in_s"])

    async def add(
        self, org: str, client: bytes, token: str, *, api_domain: str, expires_in_s: float
    ) -> None:
        """Store a new token, and delete those that have expired."""
        digest = hashlib.sha256(token.encode()).digest()
        sealed = await self._sealed.seal(DayKey(org), "sealed", digest.hex(), token)
        await self._pool.execute(
            """
            WITH deleted AS (
                DELETE FROM token.access_tokens WHERE org = $1 AND expires_at < clock_timestamp()
            )
            INSERT INTO token.access_tokens
                (org, sha256, sealed, client, api_domain, refresh_at, expires_at)
            VALUES ($1, $2, $3, $4, $5,
                    clock_timestamp() + make_interval(secs => $6 - least($7, $6 / 2)),
                    clock_timestamp() + make_interval(secs => $6))
            ON CONFLICT (org, sha256) DO UPDATE
            SET refresh_at = excluded.refresh_at, expires_at = excluded.expires_at,
                minted_at = excluded.minted_at, client = excluded.client, invalid_at = NULL
            """,
            org,
            digest,
            sealed,
            client,
            api_domain,
            expires_in_s,
            _REPLACE_BEFORE_S,
        )

    async def mark_invalid(self, org: str, sha256: bytes) -> None:
        """Record that Zoho refused the token. An unknown token changes nothing."""
        await self._pool.execute(
            """
            UPDATE token.access_tokens SET invalid_at = clock_timestamp()
            WHERE org = $1 AND sha256 = $2 AND invalid_at IS NULL
            """,
            org,
            sha256,
        )
