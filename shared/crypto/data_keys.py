"""Keep data keys in PostgreSQL, wrapped by a key of the ring, and cache them in memory."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Hashable, Iterable
from datetime import UTC, datetime
from typing import Final
from uuid import UUID, uuid4

import asyncpg
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.crypto.data_key import DataKey
from shared.crypto.key_cache import KeyCache
from shared.crypto.keyring import KEY_BYTES, KeyRing, RingKey
from shared.errors import PermanentError, Unavailable

_NONCE_BYTES: Final = 12
_DAY_S: Final = 86_400

# For a unit of work that erases a user in its own transaction. The arguments are org,
# owner_of_user(…) and a fresh uuid. The row stays, without key material, so that nobody makes a new
# key unnoticed.
DESTROY_USER_KEY: Final = """
    INSERT INTO relay.data_keys (id, org, owner, destroyed_at) VALUES ($3, $1, $2, now())
    ON CONFLICT (org, owner) DO UPDATE
    SET key_id = NULL, wrapped = NULL, destroyed_at = now()
    WHERE data_keys.destroyed_at IS NULL
"""


def owner_of_user(user_id: str) -> str:
    return f"user:{user_id}"


class DataKeys:
    """The data keys of all organizations. All parts of a process share one.

    Args:
        cached: how many keys are kept in memory.
        cached_for_s: how long a key is kept there. For so long another process may go on reading
            what a destroyed key sealed.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        ring: KeyRing,
        *,
        cached: int = 10_000,
        cached_for_s: float = 300.0,
    ) -> None:
        self._pool = pool
        self._wrapping = {key.id: (key, AESGCM(key.secret)) for key in ring}
        self._writing = ring.writing
        self._cache = KeyCache(cached, cached_for_s)
        self._days: dict[int, str] = {}
        self._loading: dict[Hashable, asyncio.Task[DataKey]] = {}

    async def of_user(self, org: str, user_id: str) -> DataKey:
        """Return the user's key, made when there is none.

        Raises:
            PermanentError: `erased`, the key was destroyed.
            Unavailable: `unknown_key`, no key of the ring unwraps it.
        """
        return await self._of_owner(org, owner_of_user(user_id))

    async def of_day(self, org: str) -> DataKey:
        """Return the organization's key of this UTC day, made when there is none."""
        today = int(time.time() // _DAY_S)
        name = self._days.get(today)
        if name is None:  # computed once a day: all that passes through is sealed under this key
            name = f"day:{datetime.fromtimestamp(today * _DAY_S, UTC).date().isoformat()}"
            self._days = {today: name}
        return await self._of_owner(org, name)

    async def by_id(self, key_id: UUID) -> DataKey:
        """Return the key that a blob names.

        Raises:
            PermanentError: `erased`, the key was destroyed.
            Unavailable: `unknown_key`, no such key, or no key of the ring unwraps it. This is
                never permanent: a restored ring, or a replica that catches up, cures it.
        """
        cached = self._cache.get(key_id)
        return cached or await self._share_query(key_id, lambda: self._load(key_id))

    async def load(self, key_ids: Iterable[UUID]) -> None:
        """Bring many keys into memory in one round trip. `by_id` asks for what is missing."""
        missing = [key_id for key_id in set(key_ids) if self._cache.get(key_id) is None]
        if not missing:
            return
        rows = await self._pool.fetch(
            """
            SELECT id, org, owner, key_id, wrapped FROM relay.data_keys
            WHERE id = ANY($1) AND wrapped IS NOT NULL
            """,
            missing,
        )
        for row in rows:
            if row["key_id"] in self._wrapping:
                self._remember(row)

    async def destroy(self, org: str, user_id: str) -> None:
        """Destroy the user's key. What it sealed never opens again, and no other one is made."""
        await self._pool.execute(DESTROY_USER_KEY, org, owner_of_user(user_id), uuid4())
        self.forget(org, user_id)

    def forget(self, org: str, user_id: str) -> None:
        """Drop the user's key from this process's memory."""
        self._cache.drop((org, owner_of_user(user_id)))

    async def _of_owner(self, org: str, owner: str) -> DataKey:
        cached = self._cache.get((org, owner))
        return cached or await self._share_query(
            (org, owner), lambda: self._find_or_make(org, owner)
        )

    async def _share_query(self, key: Hashable, load: Callable[[], Awaitable[DataKey]]) -> DataKey:
        """Let all who ask for the same key at the same time share one query."""

        async def loaded() -> DataKey:
            return await load()

        task = self._loading.get(key)
        if task is None:
            task = asyncio.create_task(loaded(), name="load data key")
            self._loading[key] = task
            task.add_done_callback(lambda done: self._loaded(key, done))
        # Shielded, because one caller that gives up must not take the key from the others.
        return await asyncio.shield(task)

    def _loaded(self, key: Hashable, task: asyncio.Task[DataKey]) -> None:
        del self._loading[key]
        if not task.cancelled():
            task.exception()  # retrieved, even when every caller has gone

    async def _find_or_make(self, org: str, owner: str) -> DataKey:
        # In one round trip, because every sign-up waits for it. When two make it at once, one key
        # is kept, which the other does not see yet.
        row = await self._find_or_insert(org, owner) or await self._find(org, owner)
        if row is None:
            raise Unavailable("a data key was made and is not there", code="unknown_key")
        return self._remember(row)

    async def _find(self, org: str, owner: str) -> asyncpg.Record | None:
        return await self._pool.fetchrow(
            """
            SELECT id, org, owner, key_id, wrapped FROM relay.data_keys
            WHERE org = $1 AND owner = $2
            """,
            org,
            owner,
        )

    async def _find_or_insert(self, org: str, owner: str) -> asyncpg.Record | None:
        """The key that is there, or a new one. None when another was made meanwhile."""
        key_id = uuid4()
        return await self._pool.fetchrow(
            """
            WITH made AS (
                INSERT INTO relay.data_keys (id, org, owner, key_id, wrapped)
                VALUES ($1, $2, $3, $4, $5)
                ON CONFLICT (org, owner) DO NOTHING
                RETURNING id, org, owner, key_id, wrapped
            )
            SELECT * FROM made
            UNION ALL
            SELECT id, org, owner, key_id, wrapped FROM relay.data_keys
            WHERE org = $2 AND owner = $3
            """,
            key_id,
            org,
            owner,
            self._writing.id,
            self._wrap(os.urandom(KEY_BYTES), self._writing, _wrap_context(org, owner, key_id)),
        )

    async def _load(self, key_id: UUID) -> DataKey:
        row = await self._pool.fetchrow(
            "SELECT id, org, owner, key_id, wrapped FROM relay.data_keys WHERE id = $1", key_id
        )
        if row is None:
            raise Unavailable("the data key of a sealed value is not known", code="unknown_key")
        return self._remember(row)

    def _remember(self, row: asyncpg.Record) -> DataKey:
        key = DataKey(UUID(bytes=row["id"].bytes), self._unwrap(row))
        self._cache.put(key, (row["org"], row["owner"]))
        return key

    def _wrap(self, secret: bytes, key: RingKey, context: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._wrapping[key.id][1].encrypt(nonce, secret, context)

    def _unwrap(self, row: asyncpg.Record) -> bytes:
        if row["wrapped"] is None:
            raise PermanentError("the user was erased", code="erased")
        known = self._wrapping.get(row["key_id"])
        if known is None:
            raise Unavailable(
                f"ENCRYPTION_KEYS has no key {row['key_id']!r}, which wraps a data key",
                code="unknown_key",
            )
        wrapped, context = row["wrapped"], _wrap_context(row["org"], row["owner"], row["id"])
        try:
            return known[1].decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], context)
        except InvalidTag as error:
            # Most likely another key has the same id. Restoring the right one cures it.
            raise Unavailable(
                f"key {row['key_id']!r} of ENCRYPTION_KEYS does not unwrap what it wrapped",
                code="unknown_key",
            ) from error


def _wrap_context(org: str, owner: str, key_id: UUID) -> bytes:
    parts = (b"relay.data_keys.wrapped", org.encode(), owner.encode(), key_id.bytes)
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
