"""Refresh tokens, sealed; the newest of an organization counts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

import asyncpg
from pydantic import SecretStr

from shared.crypto.envelope import UserKey, Vault

# A key of its own: a refresh token outlives the keys of days, and no user's erasure touches it.
_KEY_OWNER = "@token-service"


@dataclass(frozen=True)
class KnownToken:
    """`source`: environment or exchange. `scopes`: separated by spaces, empty when not known."""

    source: str
    scopes: str
    stored_at: datetime


class RefreshTokens:
    def __init__(self, pool: asyncpg.Pool, vault: Vault) -> None:
        self._pool = pool
        self._vault = vault

    async def newest(self, org: str) -> SecretStr | None:
        row = await self._pool.fetchrow(
            """
            SELECT sha256, sealed FROM token.refresh_tokens WHERE org = $1
            ORDER BY stored_at DESC LIMIT 1
            """,
            org,
        )
        if row is None:
            return None
        return SecretStr(await self._vault.open(row["sealed"], _place(org, row["sha256"])))

    async def known(self, org: str) -> KnownToken | None:
        """What may be said of the one that counts."""
        row = await self._pool.fetchrow(
            """
            SELECT source, scopes, stored_at FROM token.refresh_tokens WHERE org = $1
            ORDER BY stored_at DESC LIMIT 1
            """,
            org,
        )
        return KnownToken(row["source"], row["scopes"], row["stored_at"]) if row else None

    async def granted(self, org: str, token: SecretStr, scopes: str) -> None:
        """Keep what Zoho says that it may do."""
        await self._pool.execute(
            """
            UPDATE token.refresh_tokens SET scopes = $3
            WHERE org = $1 AND sha256 = $2 AND scopes <> $3
            """,
            org,
            _digest(token),
            scopes,
        )

    async def store(self, org: str, token: SecretStr, *, source: str, scopes: str = "") -> None:
        """Keep a token. `exchange` makes it the newest; from the environment it is as new as its
        first sight, so that a restart does not bring back what an exchange has replaced.
        """
        digest = _digest(token)
        sealed = await self._vault.seal(
            UserKey(org, _KEY_OWNER), token.get_secret_value(), _place(org, digest)
        )
        await self._pool.execute(
            """
            INSERT INTO token.refresh_tokens AS known (org, sha256, sealed, source, scopes)
            VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (org, sha256) DO UPDATE
            SET stored_at = excluded.stored_at, scopes = excluded.scopes,
                source = excluded.source, sealed = excluded.sealed
            WHERE excluded.source = 'exchange'
            """,
            org,
            digest,
            sealed,
            source,
            scopes,
        )


def _digest(token: SecretStr) -> bytes:
    return hashlib.sha256(token.get_secret_value().encode()).digest()


def _place(org: str, digest: bytes) -> str:
    return f"token.refresh_tokens.sealed:{org}:{digest.hex()}"
