"""Accept what has arrived: store a group of messages in the order of their queue."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final
from uuid import uuid4

import asyncpg
import orjson

from shared.crypto.data_key import DataKey
from shared.crypto.envelope import DayKey, Vault
from shared.errors import Unavailable
from shared.messaging.inbox.arrived_message import ArrivedMessage, GivenUp
from shared.messaging.inbox.dead_letters import DeadLetter, DeadLetters, dead_letter_context
from shared.messaging.inbox.just_accepted import JustAccepted, MessageIdentity
from shared.messaging.inbox.leasing_at_once import (
    NO_OFFER,
    REHEARSED_OFFER,
    FreeSlots,
    NoFreeSlots,
    SlotOffer,
    lease_arguments,
    leased_at_once,
)
from shared.messaging.inbox.lines import MessageUpdate, sealing_context
from shared.messaging.inbox.statements import columns, parameters
from shared.messaging.outbox.outbox import Outbox
from shared.storage.clock import DatabaseClock, database_clock
from shared.storage.pool import PooledConnection, unavailable_when_down

_FAULTS_OF_A_ROW: Final = ("22", "23", "54")
_REPEATED_AT_ONCE: Final = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)


class AcceptResult(StrEnum):
    """What became of one message of a group."""

    NEW = "new"
    REPEATED = "repeated"  # accepted before, with the same body
    REUSED = "reused"  # its id was used with another body: given up as `message_id_reused`
    ERASED = "erased"  # its user asked to be forgotten: given up as `erased`, nothing is kept
    GIVEN_UP = "given_up"  # as `ArrivedMessage.given_up` says


class RowFault(Exception):
    """The database, or the driver, refuses one of the rows: halve the group to find it.

    `sqlstate`: of class 22, 23 or 54. Empty when the driver cannot encode a value.
    """

    def __init__(self, sqlstate: str) -> None:
        super().__init__(f"a row was refused ({sqlstate or 'not encodable'})")
        self.sqlstate = sqlstate


_REFUSALS: Final = {
    AcceptResult.REUSED: ("message_id_reused", "this message_id was used with another body"),
    AcceptResult.ERASED: ("erased", "the user asked to be forgotten"),
}

Refuse = Callable[[ArrivedMessage, str, str], Awaitable[GivenUp]]
"""What announces that a message is given up under this code, for this reason."""


class Acceptance:
    """The acceptance of one service's schema.

    Args:
        refuse: asked for what announces a reused id or a message of an erased user.
        outbox: where announcements are written.
        just_accepted: is given what was parsed of new messages.
        slots: offers slots for what may be leased as it is stored.
        left_due: called when something new was stored that was not leased.
        given_up: called with organization and code of each dead letter that was stored.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        schema: str,
        vault: Vault,
        outbox: Outbox,
        refuse: Refuse,
        *,
        just_accepted: JustAccepted,
        slots: FreeSlots | None = None,
        left_due: Callable[[], None] = lambda: None,
        given_up: Callable[[str, str], None] = lambda _org, _code: None,
        clock: DatabaseClock = database_clock,
    ) -> None:
        self._pool = pool
        self._vault = vault
        self._outbox = outbox
        self._refuse = refuse
        self._just_accepted = just_accepted
        self._slots = slots or NoFreeSlots()
        self._left_due = left_due
        self._given_up = given_up
        self._clock = clock
        self._dead_letters = DeadLetters(pool, schema, vault, clock=clock)
        self._accept_sql = f"SELECT * FROM {schema}.accept_messages({parameters(35)}) ORDER BY item"  # noqa: S608

    async def accept(self, group: Sequence[ArrivedMessage]) -> list[AcceptResult]:
        """Store the group as one, in its order. On return all of it is durable.

        Deadlocks and serialization failures are repeated here.
        Raises:
            Unavailable: an outage. Nothing was stored, or the answer was lost: ask again.
            RowFault: nothing was stored, and it is the fault of a row.
        """
        if not group:
            return []
        results = await self._stored(group)
        refused = [
            message._replace(given_up=await self._refuse(message, *_REFUSALS[result]))
            for message, result in zip(group, results, strict=True)
            if result in _REFUSALS and not message.given_up  # once, under its own code
        ]
        if refused:
            await self._stored(refused)
        return results

    async def rehearse(self, connection: PooledConnection) -> MessageUpdate:
        """Store a message of nobody, leased, in a transaction that the caller undoes."""
        message = ArrivedMessage("", "", "", str(uuid4()), bytes(32))
        rows = await connection.fetch(
            self._accept_sql, *self._arguments(_columns([message], [b""]), REHEARSED_OFFER)
        )
        return MessageUpdate(rows[0]["arrived"], rows[0]["claim"])

    async def _stored(self, group: Sequence[ArrivedMessage]) -> list[AcceptResult]:
        try:
            return await self._stored_with(self._slots, group)
        except RowFault:
            if not isinstance(self._slots, NoFreeSlots):
                # It may be the ledger's, which says nothing against a message.
                return await self._stored_with(NoFreeSlots(), group)
            raise

    async def _stored_with(
        self, slots: FreeSlots, group: Sequence[ArrivedMessage]
    ) -> list[AcceptResult]:
        while True:
            try:
                with unavailable_when_down():
                    return await self._store(slots, group)
            except (asyncpg.DataError, UnicodeEncodeError) as error:
                # The driver's own error of this name, and the database's, which has a state.
                raise RowFault(getattr(error, "sqlstate", None) or "") from error
            except asyncpg.PostgresError as error:
                if (error.sqlstate or "")[:2] in _FAULTS_OF_A_ROW:
                    raise RowFault(error.sqlstate or "") from error
                raise Unavailable(
                    "the database refuses what arrives", code="database_unavailable"
                ) from error
            except Unavailable as error:
                if not isinstance(error.__cause__, _REPEATED_AT_ONCE):
                    raise

    async def _store(self, slots: FreeSlots, group: Sequence[ArrivedMessage]) -> list[AcceptResult]:
        keys = {
            org: await self._vault.key_of(DayKey(org)) for org in {message.org for message in group}
        }
        columns = _columns(group, [_sealed(message, keys[message.org]) for message in group])
        if any(message.given_up for message in group):
            rows = await self._store_with_letters(group, columns, keys)
            self._left_due()
            return self._results(group, rows)
        with slots.offer(group) as offer:
            rows = await self._pool.fetch(self._accept_sql, *self._arguments(columns, offer))
            results = self._results(group, rows)
            leased = [
                leased_at_once(message, row, sealed)
                for message, row, sealed in zip(group, rows, columns[-1], strict=True)
                if row["claim"] is not None
            ]
            offer.start(leased)
        if len(leased) < len(group):  # also when the answer to an earlier try was lost
            self._left_due()
        return results

    def _arguments(self, columns: list[list[Any]], offer: SlotOffer) -> list[Any]:
        return [*columns, *lease_arguments(offer), self._clock()]

    async def _store_with_letters(
        self,
        group: Sequence[ArrivedMessage],
        columns: list[list[Any]],
        keys: Mapping[str, DataKey],
    ) -> list[asyncpg.Record]:
        """Store a group of which some are given up, with their dead letters."""
        async with self._pool.acquire() as connection, connection.transaction():
            rows: list[asyncpg.Record] = await connection.fetch(
                self._accept_sql, *self._arguments(columns, NO_OFFER)
            )
            given_up = [
                (message, row["arrived"])
                for message, row in zip(group, rows, strict=True)
                if message.given_up and row["outcome"] in ("given_up", "reused")
            ]
            letters = [
                _dead_letter(message, arrived, keys[message.org])
                for message, arrived in given_up
                if message.given_up and message.given_up.code != "erased"
            ]
            await self._dead_letters.insert(connection, letters)
            announcements = [
                row
                for message, _ in given_up
                for row in (message.given_up.announcements if message.given_up else ())
            ]
            if announcements:
                await self._outbox.insert(connection, announcements, keep=False)
        for letter in letters:
            self._given_up(letter.org, letter.code)
        return rows

    def _results(
        self, group: Sequence[ArrivedMessage], rows: Sequence[asyncpg.Record]
    ) -> list[AcceptResult]:
        results = []
        for message, row in zip(group, rows, strict=True):
            result = AcceptResult(row["outcome"])
            results.append(result)
            if result is AcceptResult.NEW and message.parsed is not None:
                identity = MessageIdentity(
                    row["arrived"], message.org, message.routing_key, message.macs[:32]
                )
                self._just_accepted.keep(identity, message.parsed, len(message.body))
        return results


def _columns(group: Sequence[ArrivedMessage], sealed: list[bytes]) -> list[list[Any]]:
    """The arguments of `accept_messages`, column by column. `sealed`: the bodies."""
    named = [
        (at, *thing)
        for at, m in enumerate(group, 1)
        if not m.given_up
        for thing in m.ordering.named
    ]
    names = [
        (at, *thing)
        for at, m in enumerate(group, 1)
        if not m.given_up
        for thing in m.ordering.names
    ]
    return [
        [m.org for m in group],
        [m.exchange for m in group],
        [m.routing_key for m in group],
        [m.route for m in group],
        [m.message_id for m in group],
        [m.macs for m in group],
        [m.priority for m in group],
        _sparse(m.ordering.user_id for m in group),
        _sparse(m.ordering.fallback for m in group),
        *columns(named, 3),
        *columns(names, 3),
        [m.first for m in group],
        [m.given_up is not None for m in group],
        _sparse(m.waits and m.waits.code for m in group),
        _sparse(m.waits and m.waits.reason for m in group),
        _sparse(m.waits and m.waits.end_s for m in group),
        _sparse(",".join(m.records) or None for m in group),
        _sparse(m.correlation_id for m in group),
        _sparse(m.reply_to for m in group),
        _sparse(m.traceparent for m in group),
        _sparse(m.sent_at for m in group),
        [orjson.dumps(m.headers, default=str).decode() for m in group],
        sealed,
    ]


def _sparse(values: Iterable[Any]) -> list[Any]:
    """A column that is often all NULL. Then it is given as empty: `unnest` fills what is short."""
    column = [*values]
    return column if any(value is not None for value in column) else []


def _sealed(message: ArrivedMessage, key: DataKey) -> bytes:
    if message.given_up:
        return b""
    context = sealing_context(message.org, message.routing_key, message.message_id)
    return key.seal(message.body, context)


def _dead_letter(message: ArrivedMessage, arrived: int, key: DataKey) -> DeadLetter:
    assert message.given_up is not None  # noqa: S101 - the caller has chosen those
    ordering = message.ordering
    return DeadLetter(
        arrived=arrived,
        org=message.org,
        line=f"user:{ordering.user_id}" if ordering.user_id else ordering.fallback or "",
        exchange=message.exchange,
        routing_key=message.routing_key,
        route=message.route or message.routing_key,
        message_id=message.message_id,
        priority=message.priority,
        code=message.given_up.code,
        reason=message.given_up.reason,
        attempts=0,
        correlation_id=message.correlation_id,
        reply_to=message.reply_to,
        traceparent=message.traceparent,
        sent_at=message.sent_at,
        headers=message.headers,
        body=key.seal(message.body, dead_letter_context(arrived)),
        body_mac=message.macs[:32],
    )
