"""Lease the messages whose turn it is, and settle them or put them back. SQL of the lines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import asyncpg

from shared.messaging.inbox.statements import columns, parameters
from shared.storage.clock import DatabaseClock, database_clock
from shared.storage.deadlocks import repeated_after_deadlock
from shared.storage.pool import unavailable_when_down

_NONE: Final[Mapping[str, int]] = MappingProxyType({})

LARGE_BYTES: Final = 65_536
"""A longer body does not come with the lease: `Lines.body` reads it."""


class LeasedMessage(NamedTuple):
    """A message that this process works on until its lease lapses.

    Args:
        arrived: the order of acceptance. Never changes.
        claim: what every write of this attempt is conditional on.
        attempt: 1 at the first. A lapsed attempt counts only when it was alone and PostgreSQL
            answered throughout.
        alone: nothing else may run in this process meanwhile: its lease lapsed twice.
        erased: its user asked to be forgotten. Give it up as `erased`, without a dead letter.
        waited_s: how long its present wait has counted.
        code, reason: under which it is given up, when it was returned because its wait ended.
        subject_user: the user in whose line it is.
        reservations: by product, the id of what is reserved for it in the quota ledger.
        first: it stands at the front of its line (an erasure).
        records: the kinds of facts that it may record.
        body: sealed for `sealing_context`. Empty when it is large: `Lines.body` has it.
    """

    org: str
    arrived: int
    claim: int
    line: str
    exchange: str
    routing_key: str
    route: str
    message_id: str
    attempt: int
    alone: bool
    erased: bool
    priority: int
    correlation_id: str | None
    reply_to: str | None
    traceparent: str | None
    sent_at: datetime | None
    headers: Mapping[str, Any]
    body: bytes
    accepted_at: datetime
    waited_s: float
    body_mac: bytes
    first: bool = False
    records: tuple[str, ...] = ()
    code: str | None = None
    reason: str | None = None
    reservations: Mapping[str, int] = _NONE

    @property
    def subject_user(self) -> str | None:
        return self.line.removeprefix("user:") if self.line.startswith("user:") else None

    @property
    def sealing_context(self) -> str:
        return sealing_context(self.org, self.routing_key, self.message_id)


def sealing_context(org: str, routing_key: str, message_id: str) -> str:
    """The context under which an open message's body is sealed."""
    return f"inbox:{org}:{routing_key}:{message_id}"


class RefusedProduct(NamedTuple):
    """The ledger granted less than was wanted: ask for nothing of it before that time.

    `limit`: the one that is used up.
    """

    org: str
    product: str
    priority: int
    retry_after_s: float
    limit: str


@dataclass(frozen=True, slots=True)
class Lease:
    """What one lease brought.

    `alone_waits`: a message is due that must be leased alone, and the process was not idle. Let it
    become idle, or that message waits for ever.
    """

    messages: list[LeasedMessage]
    refusals: list[RefusedProduct]
    alone_waits: bool = False


class DueState(StrEnum):
    """What a look at the lines has found."""

    DUE = "due"  # leasing may find something
    LATER = "later"  # something may come due by itself
    EMPTY = "empty"  # nothing can until a message is accepted or woken


class MessageOutcome(StrEnum):
    DONE = "done"
    GIVEN_UP = "given_up"
    KEPT = "kept"  # an early commit: conditional on the claim, the message stays leased


class MessageUpdate(NamedTuple):
    """What a commit makes of a leased message."""

    arrived: int
    claim: int
    outcome: MessageOutcome = MessageOutcome.DONE


class SettledMessages(NamedTuple):
    """What a settlement found. `won`: `arrived` of the messages whose claim still held.

    `leaves_due`: because of it some message is due and not leased, such as the next of a line.
    """

    won: set[int]
    leaves_due: bool


class RecordedFact(NamedTuple):
    """A fact that the commit records. `arrived`: of the message that does. 0 without one."""

    org: str
    kind: str
    key: str
    arrived: int = 0


class RecordedName(NamedTuple):
    """A thing made at Zoho, whose messages belong in the line of `user_id` from now on."""

    org: str
    kind: str
    name: str
    user_id: str
    arrived: int = 0


class WaitKind(StrEnum):
    TIME = "time"  # holds its line until it is due
    FACT = "fact"  # off its line until the fact is recorded
    LOOK = "look"  # off its line until it is due
    PERSON = "person"  # holds its line until it is due. Has no end


@dataclass(frozen=True, slots=True)
class PutBack:
    """A leased message that waits.

    Args:
        due_s: seconds until it is due again (not for a fact).
        code, reason: why it waits, and under which it is given up when the wait ends.
        spent: the attempt counts.
        fact: kind and key of what it waits for.
        end_s: the end of such a wait, in counted seconds. None: it has no end.
        product: that waits for a person. None: it waits for a key.
    """

    arrived: int
    claim: int
    kind: WaitKind
    code: str
    due_s: float = 0.0
    reason: str = ""
    spent: bool = False
    fact: tuple[str, str] | None = None
    end_s: float | None = None
    product: str | None = None


class PutBackResult(StrEnum):
    WAITS = "waits"
    AGAIN = "again"  # the fact was recorded meanwhile: run it again now, under the same claim
    ENDED = "ended"  # its wait is over: give it up now, under the same claim and its own code
    LOST = "lost"  # another attempt has it


class Lines:
    """The lines of one service's schema. Every method raises `Unavailable` during an outage.

    `reservation_s`: how long what is reserved for a message is kept for it.
    `longest`: after so many times its length a wait ends, counted or not. Time in which a message
    was due and nobody leased it is no part of that.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        schema: str,
        *,
        reservation_s: float = 120.0,
        longest: float = 10.0,
        clock: DatabaseClock = database_clock,
    ) -> None:
        self._pool = pool
        self.reservation_s = reservation_s
        self._longest = longest
        self._clock = clock
        self._confident = False
        self._lease_sql = f"SELECT * FROM {schema}.lease_messages({parameters(18)})"  # noqa: S608
        self._body_sql = f"SELECT body FROM {schema}.inbox WHERE arrived = $1"  # noqa: S608
        self._due_state_sql = f"SELECT {schema}.due_state($1)"
        self._renew_sql = f"SELECT arrived FROM {schema}.renew_leases($1, $2, $3, $4)"  # noqa: S608
        self._settle_sql = (
            f"SELECT arrived, leaves_due FROM {schema}.settle_messages({parameters(13)})"  # noqa: S608
        )
        self._put_back_sql = (
            f"SELECT result FROM {schema}.put_back_messages({parameters(13)})"  # noqa: S608
            " ORDER BY item"
        )

    async def lease(
        self,
        *,
        slots: Mapping[int, int],
        limit: int,
        routes: Mapping[str, Mapping[str, int]],
        orgs: Collection[str],
        closed: Collection[tuple[str, str, int]] = (),
        limits: Mapping[str, object] | None = None,
        lease_s: float,
        idle: bool,
        answering_s: float = 0.0,
    ) -> Lease:
        """Lease messages that are due, at most `limit` and at most `slots` of each priority.

        Args:
            routes: by the key of each route that this process handles: the calls to reserve, by
                product.
            closed: organization, product and priority of what is passed over.
            limits: by product, its limits as the ledger's `reserve_calls` takes them.
            idle: this process works on nothing.
            answering_s: for how long PostgreSQL has answered this process without a gap. A lapsed
                lease that began earlier says nothing against its message.
        """
        counts = sorted(slots.items())
        calls = [
            (route, product, count)
            for route, products in routes.items()
            for product, count in products.items()
        ]
        arguments = (
            [*orgs],
            [*routes],
            *columns(counts, 2),
            limit,
            *columns(calls, 3),
            *columns([*closed], 3),
            limits or {},
            self.reservation_s,
            lease_s,
            idle,
            answering_s,
        )
        rows = await self._fetch(self._lease_sql, *arguments, self._confident, self._clock())
        if rows and rows[-1]["kind"] == "undone":
            rows = await self._fetch(self._lease_sql, *arguments, False, self._clock())
        reserved: defaultdict[int, dict[str, int]] = defaultdict(dict)
        for row in rows:
            if row["kind"] == "reserved" and row["reserved_for"]:
                for arrived, product, reservation in zip(
                    row["reserved_for"], row["products"], row["reservations"], strict=True
                ):
                    reserved[arrived][product] = reservation
        lease = Lease(
            [
                leased_message(row, reserved.get(row["arrived"]))
                for row in rows
                if row["kind"] == "message"
            ],
            [
                RefusedProduct(
                    *(row["org"], row["product"], row["message_priority"]),
                    *(row["retry_in_s"], row["code"]),
                )
                for row in rows
                if row["kind"] == "refused"
            ],
            any(row["kind"] == "alone" for row in rows),
        )
        self._confident = not lease.refusals
        return lease

    async def body(self, arrived: int) -> bytes | None:
        """The sealed body of an open message. None: it is not open any more."""
        rows = await self._fetch(self._body_sql, arrived)
        return rows[0]["body"] if rows else None

    async def due_state(self) -> DueState:
        """Whether `lease` may find something. Cheaper than to lease and find nothing."""
        [(state,)] = await self._fetch(self._due_state_sql, self._clock())
        return DueState(state)

    async def renew(
        self, held: Collection[tuple[int, int]], lease_s: float
    ) -> set[tuple[int, int]]:
        """Extend leases (arrived, claim). Returns those that are lost."""
        rows = await self._fetch(self._renew_sql, *columns([*held], 2), lease_s, self._clock())
        kept = {arrived for (arrived,) in rows}
        return {lease for lease in held if lease[0] not in kept}

    async def settle(
        self,
        connection: asyncpg.pool.PoolConnectionProxy,
        updates: Sequence[MessageUpdate],
        *,
        facts: Sequence[RecordedFact] = (),
        names: Sequence[RecordedName] = (),
    ) -> SettledMessages:
        """Settle messages in the caller's transaction, as its first statement.

        Nothing of a message whose claim was lost may be committed. Its facts and names are not
        recorded.

        Raises (repeat the whole transaction): 40001, 40P01.
        """
        rows = await connection.fetch(
            self._settle_sql,
            *columns(updates, 3),
            *columns(facts, 4),
            *columns([(n.org, n.kind, n.name, f"user:{n.user_id}", n.arrived) for n in names], 5),
            self._clock(),
        )
        return SettledMessages(
            {arrived for arrived, _ in rows if arrived is not None},
            any(leaves_due for _, leaves_due in rows),
        )

    async def put_back(self, group: Sequence[PutBack]) -> list[PutBackResult]:
        """Put leased messages back to wait. One result for each, in order."""
        rows = await self._fetch(
            self._put_back_sql,
            [p.arrived for p in group],
            [p.claim for p in group],
            [p.kind.value for p in group],
            [p.due_s for p in group],
            [p.code for p in group],
            [p.reason for p in group],
            [p.spent for p in group],
            [p.fact and p.fact[0] for p in group],
            [p.fact and p.fact[1] for p in group],
            [p.end_s for p in group],
            [p.product for p in group],
            self._longest,
            self._clock(),
        )
        return [PutBackResult(result) for (result,) in rows]

    async def _fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """Run one statement of its own transaction, again at once after a deadlock."""
        with unavailable_when_down():
            return await repeated_after_deadlock(lambda: self._pool.fetch(sql, *arguments))


def leased_message(
    row: asyncpg.Record, reservations: Mapping[str, int] | None = None
) -> LeasedMessage:
    """A message as `lease_messages` or `count_waits` returns it."""
    return LeasedMessage(
        org=row["org"],
        arrived=row["arrived"],
        claim=row["claim"],
        line=row["line"],
        exchange=row["exchange"],
        routing_key=row["routing_key"],
        route=row["route"],
        message_id=row["message_id"],
        attempt=row["attempt"],
        alone=row["alone"],
        erased=row["erased"],
        priority=row["message_priority"],
        correlation_id=row["correlation_id"],
        reply_to=row["reply_to"],
        traceparent=row["traceparent"],
        sent_at=row["sent_at"],
        headers=row["headers"],
        body=row["body"],
        accepted_at=row["accepted_at"],
        waited_s=row["waited_s"],
        body_mac=row["body_mac"],
        first=row["first"],
        records=tuple(row["records"] or ()),
        code=row["code"],
        reason=row["reason"],
        reservations=reservations or {},
    )
