"""Hold all SQL of erasures: which parts there are, what each has found and done, and the end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

import asyncpg
import orjson

from shared.contracts.events import ErasedPart
from shared.crypto.envelope import UserKey, Vault
from shared.erasing.outcome import Found, PartOutcome
from shared.messaging.handling.unit_of_work import UnitOfWork

_END_PARTS = "SELECT relay.end_erasure_parts($1, $2, $3, $4)"
_END = "SELECT relay.end_erasure($1, $2, $3)"


@dataclass(frozen=True)
class PartProgress:
    """How far a part is. `ready_in_s`: so long something of the user may still be under way."""

    product: str
    ready_in_s: float
    refusals: int
    found: bytes | None
    done: bool
    ended: bool


@dataclass(frozen=True)
class ErasureProgress:
    """All parts of one erasure, as they are now. `missing`: products whose part has not ended."""

    asked_at: datetime
    ended_at: datetime | None
    missing: tuple[str, ...]
    parts: tuple[ErasedPart, ...]


class Erasures:
    """The erasures of all users. Shared by all services: its tables are in the schema `relay`."""

    def __init__(self, pool: asyncpg.Pool, vault: Vault) -> None:
        self._pool = pool
        self._vault = vault

    async def take_part(self, service: str, products: Iterable[str]) -> None:
        """From now on every erasure needs these products' parts, and no others of `service`."""
        wanted = set(products)
        rows = await self._pool.fetch("SELECT product, service FROM relay.erasing_products")
        known = {row["product"] for row in rows}
        missing = [(product, service) for product in sorted(wanted - known)]
        if {row["product"] for row in rows if row["service"] == service} - wanted:
            await self._pool.execute(
                "DELETE FROM relay.erasing_products WHERE service = $1 AND product <> ALL ($2)",
                service,
                list(wanted),
            )
        if missing:  # a start must not need a database that takes writes
            await self._pool.executemany(
                """
                INSERT INTO relay.erasing_products (product, service) VALUES ($1, $2)
                ON CONFLICT DO NOTHING
                """,
                missing,
            )

    async def begin(
        self, user: UserKey, products: Sequence[str], *, quiet_s: float
    ) -> dict[str, PartProgress] | None:
        """Begin the parts, or find them as they are. None when the erasure has ended.

        `quiet_s`: how long after the tombstone a request that began before it may be under way.
        """
        rows = await self._pool.fetch(
            "SELECT * FROM relay.begin_erasure_parts($1, $2, $3, $4)",
            user.org,
            user.user_id,
            list(products),
            quiet_s,
        )
        if any(row["erased_at"] is not None for row in rows):
            return None
        names = ("product", "ready_in_s", "refusals", "found", "done", "ended")
        return {row["product"]: PartProgress(**{n: row[n] for n in names}) for row in rows}

    async def open_found(self, user: UserKey, part: PartProgress) -> Found:
        if part.found is None:
            return {}
        found: Found = orjson.loads(
            await self._vault.open_bytes(part.found, _context(user, part.product))
        )
        return found

    async def store_found(self, user: UserKey, product: str, found: Found) -> None:
        """Store what was found at Zoho, before it is changed: later no search finds it."""
        sealed = await self._vault.seal_bytes(user, orjson.dumps(found), _context(user, product))
        await self._update(user, product, "found = $4", sealed)

    async def record_wait(self, user: UserKey, product: str, code: str) -> None:
        await self._update(user, product, "waits_for = $4", code)

    async def record_refusal(self, user: UserKey, product: str, code: str) -> None:
        await self._update(user, product, "waits_for = $4, refusals = refusals + 1", code)

    async def record_done(self, user: UserKey, product: str, outcome: PartOutcome) -> None:
        """Zoho has what it shall have. What was refused to the end is kept."""
        await self._update(
            user,
            product,
            "waits_for = NULL, erased = $4, kept = $5, done_at = clock_timestamp()",
            [each.model_dump(mode="json", exclude_none=True) for each in outcome.erased],
            [
                each.model_dump(mode="json", exclude_none=True)
                for each in (*outcome.kept, *outcome.refused)
            ],
        )

    def end_parts(
        self, work: UnitOfWork, user: UserKey, schema: str, products: Sequence[str]
    ) -> None:
        """Delete the user's rows of this schema, and end the parts.

        The commit is a stale read while an older transaction might still write such a row.
        """
        work.record(_END_PARTS, user.org, user.user_id, schema, list(products))

    def end(self, work: UnitOfWork, user: UserKey) -> None:
        """Destroy the user's key. The commit is a stale read unless it is the one that ends it."""
        self._vault.forget(user)
        work.record(_END, user.org, user.user_id, uuid4())

    async def progress(self, user: UserKey) -> ErasureProgress | None:
        """How an erasure stands. None when nobody asked for it."""
        row = await self._pool.fetchrow(
            """
            SELECT t.asked_at, t.ended_at,
                   ARRAY(SELECT e.product FROM relay.erasing_products e WHERE NOT EXISTS (
                             SELECT FROM relay.erasure_parts p
                             WHERE p.org = t.org AND p.user_id = t.user_id
                               AND p.product = e.product AND p.ended_at IS NOT NULL)
                         ORDER BY e.product) AS missing,
                   (SELECT coalesce(jsonb_agg(jsonb_build_object(
                               'product', p.product, 'erased', p.erased, 'kept', p.kept,
                               'ended_at', p.ended_at) ORDER BY p.product), '[]')
                    FROM relay.erasure_parts p
                    WHERE p.org = t.org AND p.user_id = t.user_id
                      AND p.ended_at IS NOT NULL) AS parts
            FROM relay.tombstones t WHERE t.org = $1 AND t.user_id = $2
            """,
            user.org,
            user.user_id,
        )
        if row is None:
            return None
        parts = tuple(ErasedPart.model_validate(part) for part in row["parts"])
        return ErasureProgress(row["asked_at"], row["ended_at"], tuple(row["missing"]), parts)

    async def backlog(self, org: str) -> tuple[int, float]:
        """How many erasures have not ended, and the age in seconds of the oldest. 0 without one."""
        [row] = await self._pool.fetch(
            """
            SELECT count(*) AS open,
                   coalesce(extract(epoch FROM clock_timestamp() - min(asked_at)), 0)::float8
                       AS age_s
            FROM relay.tombstones WHERE org = $1 AND ended_at IS NULL
            """,
            org,
        )
        return row["open"], row["age_s"]

    async def _update(self, user: UserKey, product: str, change: str, *args: Any) -> None:
        await self._pool.execute(
            f"UPDATE relay.erasure_parts SET {change}"  # noqa: S608 - constants of this module
            " WHERE org = $1 AND user_id = $2 AND product = $3 AND ended_at IS NULL",
            user.org,
            user.user_id,
            product,
            *args,
        )


def _context(user: UserKey, product: str) -> str:
    return f"relay.erasure_parts.found:{user.org}:{user.user_id}:{product}"
