"""Keep what is to be published, committed with the state it announces. SQL of the outbox."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg
import orjson

from shared.crypto.envelope import Vault
from shared.messaging.batcher import Batcher
from shared.messaging.broker.refused_routes import Route
from shared.messaging.messages.outgoing_message import SEALED, OutgoingMessage, sealing_context
from shared.storage.deadlocks import repeated_after_deadlock
from shared.storage.pool import unavailable_when_down

# With the types in which a group of them is given as arrays.
COLUMNS: Final[Mapping[str, str]] = {
    "id": "uuid",
    "org": "text",
    "exchange": "text",
    "routing_key": "text",
    "message_id": "text",
    "body": "bytea",
    "sealed": "boolean",
    "mandatory": "boolean",
    "properties": "text",
}
_ARRAYS: Final = ", ".join(f"${n}::{type_}[]" for n, type_ in enumerate(COLUMNS.values(), 1))
_GIVEN: Final = f"unnest({_ARRAYS}) AS r ({', '.join(COLUMNS)})"


class OutboxRow(NamedTuple):
    """An outbox row: the letter as it goes out, and the body as it is stored."""

    id: UUID
    org: str
    letter: OutgoingMessage
    stored: bytes
    sealed: bool


class OutboxBacklog(NamedTuple):
    rows: int
    oldest_age_s: float


class Outbox:
    """The outbox of one service's schema."""

    def __init__(self, pool: asyncpg.Pool, schema: str, vault: Vault, *, lease_s: float) -> None:
        self._pool = pool
        self._vault = vault
        self._lease_s = lease_s
        self._marks: Batcher[UUID, None] = Batcher("mark published", self._mark, gather_s=0.02)
        self._insert_sql = insert_sql(schema, _GIVEN, lease="$10")
        self._mark_sql = f"""
            UPDATE {schema}.outbox SET published_at = clock_timestamp() WHERE id = ANY ($1::uuid[])
            """  # noqa: S608
        # A row that nobody takes is tried less and less often, so that it stands in no one's way.
        self._take_sql = f"""
            UPDATE {schema}.outbox o
            SET tries = o.tries + 1,
                leased_until = clock_timestamp()
                               + make_interval(secs => $2 * least(1 << least(o.tries, 5), 20))
            FROM (SELECT id FROM {schema}.outbox
                  WHERE published_at IS NULL AND leased_until <= clock_timestamp()
                    AND (exchange, routing_key) NOT IN
                        (SELECT * FROM unnest($3::text[], $4::text[]))
                  ORDER BY seq LIMIT $1 FOR UPDATE SKIP LOCKED) due
            WHERE o.id = due.id
            RETURNING o.seq, o.id, o.org, o.exchange, o.routing_key, o.message_id, o.body, o.sealed,
                      o.mandatory, o.properties::text AS properties
            """  # noqa: S608
        self._hasten_sql = f"""
            UPDATE {schema}.outbox SET leased_until = clock_timestamp(), tries = 0
            WHERE published_at IS NULL
              -- Younger ones may be in flight for the first time.
              AND (tries > 0 OR created_at < clock_timestamp() - interval '1 second')
              AND (exchange, routing_key) IN (SELECT * FROM unnest($1::text[], $2::text[]))
            """  # noqa: S608
        self._pending_sql = f"""
            SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)
            FROM {schema}.outbox WHERE published_at IS NULL
            """  # noqa: S608

    async def insert(
        self, connection: asyncpg.pool.PoolConnectionProxy, rows: Sequence[OutboxRow], *, keep: bool
    ) -> None:
        """Write rows inside the caller's transaction. `keep`: this process publishes them."""
        await connection.execute(self._insert_sql, *columns(rows), self.lease_s(keep=keep))

    def lease_s(self, *, keep: bool) -> float:
        """How long the relay leaves new rows alone: their own process publishes those it keeps."""
        return self._lease_s if keep else 0.0

    def mark(self, row_id: UUID) -> asyncio.Future[None]:
        """The broker has it. Fails as `Unavailable`. Then it may be published once more."""
        return self._marks.run(row_id)

    async def settled(self) -> None:
        """Return once no mark is under way."""
        await self._marks.idle()

    async def take(self, limit: int, *, without: Sequence[Route] = ()) -> list[OutboxRow]:
        """Lease up to `limit` rows that nobody has, oldest first. Raises `Unavailable`.

        Args:
            without: exchanges and routing keys of which none is taken now.
        """
        with unavailable_when_down():
            found = await self._pool.fetch(
                self._take_sql, limit, self._lease_s, *_two_columns(without)
            )
            return [await self._row(record) for record in sorted(found, key=lambda r: r["seq"])]

    async def hasten(self, routes: Sequence[Route]) -> None:
        """Make due at once what waits for its next try. Raises `Unavailable`."""
        await self._execute(self._hasten_sql, *_two_columns(routes))

    async def pending(self) -> OutboxBacklog:
        """How many rows are not yet confirmed, and the age of the oldest. Raises `Unavailable`."""
        with unavailable_when_down():
            [(rows, oldest_age_s)] = await self._pool.fetch(self._pending_sql)
        return OutboxBacklog(rows, float(oldest_age_s))

    async def _mark(self, ids: list[UUID]) -> list[None]:
        await self._execute(self._mark_sql, ids)
        return [None] * len(ids)

    async def _execute(self, sql: str, *arguments: object) -> None:
        """Run a statement that locks rows in no certain order, again at once after a deadlock."""
        with unavailable_when_down():
            await repeated_after_deadlock(lambda: self._pool.execute(sql, *arguments))

    async def _row(self, record: asyncpg.Record) -> OutboxRow:
        stored, message_id = record["body"], record["message_id"]
        sealed = record["sealed"]
        body = (
            stored if sealed else await self._vault.open_bytes(stored, sealing_context(message_id))
        )
        letter = OutgoingMessage(
            record["exchange"],
            record["routing_key"],
            message_id,
            body,
            mandatory=record["mandatory"],
            **_from_properties(record["properties"]),
        )
        return OutboxRow(record["id"], record["org"], letter, stored, sealed)


def _two_columns(routes: Sequence[Route]) -> tuple[list[str], list[str]]:
    return [exchange for exchange, _ in routes], [key for _, key in routes]


def insert_sql(schema: str, source: str, *, lease: str) -> str:
    """`INSERT` of what `source` holds: rows called `r` with the columns of `COLUMNS`.

    Args:
        lease: the parameter (`$10`) with `Outbox.lease_s`.
    """
    return f"""
        INSERT INTO {schema}.outbox ({", ".join(COLUMNS)}, leased_until)
        SELECT r.id, r.org, r.exchange, r.routing_key, r.message_id, r.body, r.sealed, r.mandatory,
               r.properties::jsonb, clock_timestamp() + make_interval(secs => {lease})
        FROM {source}
        ON CONFLICT (id) DO NOTHING
        """  # noqa: S608


def columns(rows: Sequence[OutboxRow]) -> tuple[list[Any], ...]:
    """The rows, column by column, in the order of `COLUMNS`."""
    letters = [row.letter for row in rows]
    return (
        [row.id for row in rows],
        [row.org for row in rows],
        [letter.exchange for letter in letters],
        [letter.routing_key for letter in letters],
        [letter.message_id for letter in letters],
        [row.stored for row in rows],
        [row.sealed for row in rows],
        [letter.mandatory for letter in letters],
        [_properties(letter) for letter in letters],
    )


def sealed_header(letter: OutgoingMessage) -> dict[str, Any]:
    """The letter's headers, saying that its body is sealed."""
    return {**letter.headers, SEALED: 1}


def _properties(letter: OutgoingMessage) -> str:
    return orjson.dumps(
        {
            "correlation_id": letter.correlation_id,
            "reply_to": letter.reply_to,
            "expires_ms": letter.expires_ms,
            "timestamp": letter.timestamp,
            "headers": letter.headers,
        },
        default=str,
    ).decode()


def _from_properties(text: str) -> dict[str, Any]:
    properties: dict[str, Any] = orjson.loads(text)
    if properties["timestamp"] is not None:
        properties["timestamp"] = datetime.fromisoformat(properties["timestamp"])
    return properties
