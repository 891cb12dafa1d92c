"""Keep messages that were given up, until somebody replays or discards them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg
import orjson

from shared.crypto.envelope import DayKey, UserKey, Vault
from shared.errors import PermanentError
from shared.messaging.inbox.lines import LeasedMessage, sealing_context
from shared.messaging.inbox.statements import columns
from shared.storage.clock import DatabaseClock, database_clock
from shared.storage.deadlocks import repeated_after_deadlock
from shared.storage.pool import planned_anew, unavailable_when_down


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was given up. Its body is sealed under its user's key where one is known.

    `size`: of the sealed body. A page of many comes without bodies: `DeadLetters.open` reads one.
    """

    arrived: int
    org: str
    line: str
    exchange: str
    routing_key: str
    route: str
    message_id: str
    priority: int
    code: str
    reason: str
    attempts: int
    correlation_id: str | None
    reply_to: str | None
    traceparent: str | None
    sent_at: datetime | None
    headers: Mapping[str, Any]
    body: bytes
    body_mac: bytes
    first: bool = False
    records: tuple[str, ...] = ()
    given_up_at: datetime | None = None
    state: str = "waiting"
    size: int = 0


@dataclass(frozen=True, slots=True)
class DeadLetterCause:
    """How many dead letters have this code. `for_example`: the message_id of one of them."""

    code: str
    messages: int
    oldest: datetime
    newest: datetime
    for_example: str
    reason: str


def dead_letter_context(arrived: int) -> str:
    """The context under which a dead letter's body is sealed."""
    return f"dead letter:{arrived}"


class DeadLetters:
    """The dead letters of one service's schema."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        schema: str,
        vault: Vault,
        *,
        clock: DatabaseClock = database_clock,
    ) -> None:
        self._pool = pool
        self._vault = vault
        self._clock = clock
        self._insert_sql = f"""
            INSERT INTO {schema}.dead_letters AS d
                (arrived, org, line, exchange, routing_key, route, message_id, priority, first,
                 records, code, reason, attempts, correlation_id, reply_to, traceparent, sent_at,
                 headers, body, body_mac, given_up_at)
            SELECT l.arrived, l.org, l.line, l.exchange, l.routing_key, l.route, l.message_id,
                   l.priority, l.first, string_to_array(l.records, ','), l.code, l.reason,
                   l.attempts, l.correlation_id, l.reply_to, l.traceparent, l.sent_at,
                   l.headers::jsonb, l.body, l.body_mac, coalesce($21, clock_timestamp())
            FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                        $7::text[], $8::smallint[], $9::boolean[], $10::text[], $11::text[],
                        $12::text[], $13::integer[], $14::text[], $15::text[], $16::text[],
                        $17::timestamptz[], $18::text[], $19::bytea[], $20::bytea[])
                AS l (arrived, org, line, exchange, routing_key, route, message_id, priority, first,
                      records, code, reason, attempts, correlation_id, reply_to, traceparent,
                      sent_at, headers, body, body_mac)
            -- A replay that failed again.
            ON CONFLICT (arrived) DO UPDATE
            SET line = excluded.line, code = excluded.code, reason = excluded.reason,
                attempts = excluded.attempts, body = excluded.body, state = 'waiting',
                given_up_at = excluded.given_up_at, settled_by = NULL, settled_at = NULL
            """  # noqa: S608
        columns_but_body = (
            "arrived, org, line, exchange, routing_key, route, message_id, priority, first,"
            " records, code, reason, attempts, correlation_id, reply_to, traceparent, sent_at,"
            " headers, body_mac, given_up_at, state, octet_length(body) AS size"
        )
        self._page_sql = f"""
            SELECT {columns_but_body}, ''::bytea AS body
            FROM {schema}.dead_letters
            WHERE state = 'waiting' AND arrived > $1 AND ($2::text IS NULL OR org = $2)
              AND ($3::text IS NULL OR code = $3) AND ($4::text IS NULL OR routing_key = $4)
              AND ($6::timestamptz IS NULL OR given_up_at <= $6)
              AND ($7::text[] IS NULL OR message_id = ANY ($7))
            ORDER BY arrived LIMIT $5
            """  # noqa: S608
        self._get_sql = f"""
            SELECT {columns_but_body}, body
            FROM {schema}.dead_letters WHERE arrived = $1 AND state = 'waiting'
            """  # noqa: S608
        self._replay_sql = f"SELECT {schema}.replay_dead_letter($1, $2, $3, $4)"
        self._discard_sql = f"SELECT {schema}.discard_dead_letter($1, $2, $3)"
        self._count_sql = f"""
            SELECT org, code, count(*) FROM {schema}.dead_letters
            WHERE state = 'waiting' GROUP BY org, code
            """  # noqa: S608
        self._causes_sql = f"""
            SELECT code, count(*) AS messages, min(given_up_at) AS oldest,
                   max(given_up_at) AS newest, min(message_id) AS for_example,
                   min(reason) AS reason
            FROM {schema}.dead_letters
            WHERE state = 'waiting' AND ($1::text IS NULL OR org = $1)
              AND ($2::text IS NULL OR code = $2) AND ($3::text IS NULL OR routing_key = $3)
              AND ($4::timestamptz IS NULL OR given_up_at <= $4)
              AND ($5::text[] IS NULL OR message_id = ANY ($5))
            GROUP BY code ORDER BY messages DESC, code
            """  # noqa: S608

    async def of(
        self, message: LeasedMessage, code: str, reason: str, body: bytes | None = None
    ) -> DeadLetter:
        """The dead letter of a leased message. Its body is opened and sealed again.

        Call it before the transaction: it may fetch keys. `body`: already open.

        Raises Unavailable.
        """
        with unavailable_when_down():
            if body is None:
                body = await self._vault.open_bytes(message.body, message.sealing_context)
            sealed = await self._sealed(message, body)
        return DeadLetter(
            arrived=message.arrived,
            org=message.org,
            line=message.line,
            exchange=message.exchange,
            routing_key=message.routing_key,
            route=message.route,
            message_id=message.message_id,
            priority=message.priority,
            first=message.first,
            records=message.records,
            code=code,
            reason=reason,
            attempts=message.attempt,
            correlation_id=message.correlation_id,
            reply_to=message.reply_to,
            traceparent=message.traceparent,
            sent_at=message.sent_at,
            headers=message.headers,
            body=sealed,
            body_mac=message.body_mac,
        )

    async def insert(
        self, connection: asyncpg.pool.PoolConnectionProxy, letters: Sequence[DeadLetter]
    ) -> None:
        """Store them in the transaction that gives the messages up."""
        if not letters:
            return
        await connection.execute(
            self._insert_sql,
            *columns(
                [
                    (
                        letter.arrived,
                        letter.org,
                        letter.line,
                        letter.exchange,
                        letter.routing_key,
                        letter.route,
                        letter.message_id,
                        letter.priority,
                        letter.first,
                        ",".join(letter.records) or None,
                        letter.code,
                        letter.reason,
                        letter.attempts,
                        letter.correlation_id,
                        letter.reply_to,
                        letter.traceparent,
                        letter.sent_at,
                        orjson.dumps(letter.headers, default=str).decode(),
                        letter.body,
                        letter.body_mac,
                    )
                    for letter in letters
                ],
                20,
            ),
            self._clock(),
        )

    async def get(self, arrived: int) -> DeadLetter | None:
        """One that waits for somebody."""
        with unavailable_when_down():
            row = await self._pool.fetchrow(self._get_sql, arrived)
        return _dead_letter(row) if row else None

    async def page(
        self,
        *,
        org: str | None = None,
        code: str | None = None,
        routing_key: str | None = None,
        message_ids: Collection[str] | None = None,
        given_up_until: datetime | None = None,
        after: int = 0,
        limit: int = 50,
    ) -> list[DeadLetter]:
        """Those that wait for somebody, oldest first, without their bodies.

        `after`: the last `arrived` seen.
        """
        ids = None if message_ids is None else [*message_ids]
        with unavailable_when_down():
            async with planned_anew(self._pool) as connection:
                rows = await connection.fetch(
                    *(self._page_sql, after, org, code, routing_key, limit, given_up_until, ids)
                )
        return [_dead_letter(row) for row in rows]

    async def causes(
        self,
        *,
        org: str | None = None,
        code: str | None = None,
        routing_key: str | None = None,
        message_ids: Collection[str] | None = None,
        given_up_until: datetime | None = None,
    ) -> list[DeadLetterCause]:
        """All those that wait for somebody, counted by code, the most frequent first."""
        ids = None if message_ids is None else [*message_ids]
        with unavailable_when_down():
            async with planned_anew(self._pool) as connection:
                rows = await connection.fetch(
                    self._causes_sql, org, code, routing_key, given_up_until, ids
                )
        return [DeadLetterCause(**row) for row in rows]

    async def open(self, letter: DeadLetter) -> bytes:
        """Its body as it came.

        Raises:
            PermanentError: `erased`, its user's key was destroyed, or it is not kept any more.
        """
        whole = letter if letter.body else await self.get(letter.arrived)
        if whole is None:
            raise PermanentError("it was replayed, discarded or erased meanwhile", code="erased")
        with unavailable_when_down():
            return await self._vault.open_bytes(whole.body, dead_letter_context(letter.arrived))

    async def replay(self, arrived: int, *, by: str) -> bool:
        """Put it at the end of its line again, its attempts forgotten. False: not there."""
        letter = await self.get(arrived)
        if letter is None:
            return False
        body = await self.open(letter)
        with unavailable_when_down():
            context = sealing_context(letter.org, letter.routing_key, letter.message_id)
            sealed = await self._vault.seal_bytes(DayKey(letter.org), body, context)
            replayed: bool = await repeated_after_deadlock(
                lambda: self._pool.fetchval(self._replay_sql, arrived, sealed, by, self._clock())
            )
        return replayed

    async def discard(self, arrived: int, *, by: str) -> bool:
        """Keep nothing of it but who discarded it and when. False: not there."""
        with unavailable_when_down():
            discarded: bool = await repeated_after_deadlock(
                lambda: self._pool.fetchval(self._discard_sql, arrived, by, self._clock())
            )
        return discarded

    async def counts(self) -> Mapping[tuple[str, str], int]:
        """How many wait for somebody, by organization and code."""
        with unavailable_when_down():
            rows = await self._pool.fetch(self._count_sql)
        return {(org, code): count for org, code, count in rows}

    async def _sealed(self, message: LeasedMessage, body: bytes) -> bytes:
        user_id = message.subject_user
        owner = UserKey(message.org, user_id) if user_id is not None else DayKey(message.org)
        return await self._vault.seal_bytes(owner, body, dead_letter_context(message.arrived))


def _dead_letter(row: asyncpg.Record) -> DeadLetter:
    records = tuple(row["records"] or ())
    body, size = row["body"] or b"", row["size"] or 0
    return DeadLetter(**{**row, "records": records, "body": body, "size": size})
