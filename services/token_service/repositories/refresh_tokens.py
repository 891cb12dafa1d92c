"""Store refresh tokens, sealed. The newest of an organization is used."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

import asyncpg
from pydantic import SecretStr

from shared.crypto.envelope import UserKey, Vault
from shared.crypto.sealed_columns import SealedColumns

# Its own key owner: a refresh token outlives day keys, and no user's erasure may destroy its key.
_KEY_OWNER = "@token-service"


@dataclass(frozen=True)
class KnownToken:
    """`source` is environment or exchange. `scopes` are separated by spaces, empty when unknown."""

    source: str
    scopes: str
    stored_at: datetime


class RefreshTokens:
    def __init__(self, pool: asyncpg.Pool, vault: Vault) -> None:
        self._pool = pool
        self._sealed = SealedColumns(vault, "token.refresh_tokens")

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
        token = await self._sealed.open(org, "sealed", row["sha256"].hex(), row["sealed"])
        return SecretStr(token)

    async def known(self, org: str) -> KnownToken | None:
        """The public facts about the token in use."""
        row = await self._pool.fetchrow(
            """
            SELECT source, scopes, stored_at FROM token.refresh_tokens WHERE org = $1
            ORDER BY stored_at DESC LIMIT 1
            """,
            org,
        )
        return KnownToken(row["source"], row["scopes"], row["stored_at"]) if row else None

    async def granted(self, org: str, token: SecretStr, scopes: str) -> None:
        """Record the scopes that Zoho reports for the token."""
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
        """Store a token. One from an exchange becomes the newest. One from the environment keeps
        the time it was first seen, so that a restart does not undo an exchange.
        """
        digest = _digest(token)
        sealed = await self._sealed.seal(
            UserKey(org, _KEY_OWNER), "sealed", digest.hex(), token.get_secret_value()
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
