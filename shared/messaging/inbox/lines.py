"""Lease the messages whose turn it is, and settle them or put them back. SQL of the lines."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

import asyncpg


@dataclass(frozen=True, slots=True)
class LeasedMessage:
    """A message that this process works on until its lease lapses.

    Args:
        arrived: the order of acceptance; never changes.
        claim: what every write of this attempt is conditional on.
        attempt: 1 at the first. A lapsed attempt counts only when it was alone and PostgreSQL
            answered throughout.
        alone: nothing else may run in this process meanwhile: its lease lapsed twice.
        erased: its user asked to be forgotten. Give it up as `erased`, without a dead letter.
        waited_s: how long its present wait has counted.
        code, reason: under which it is given up, when it was returned because its wait ended.
        subject_user: the user in whose line it is.
        reservations: by product, the id of what is reserved for it in the quota ledger.
        body: sealed for `sealing_context`.
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
    code: str | None = None
    reason: str | None = None
    reservations: Mapping[str, int] = field(default_factory=dict)

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
    """The ledger granted less than was wanted: ask for nothing of it before that time."""

    org: str
    product: str
    priority: int
    retry_after_s: float


@dataclass(frozen=True, slots=True)
class Lease:
    """What one lease brought.

    `alone_waits`: a message is due that must be leased alone, and the process was not idle. Let it
    become idle, or that message waits for ever.
    """

    messages: list[LeasedMessage]
    refusals: list[RefusedProduct]
    alone_waits: bool = False


class MessageOutcome(StrEnum):
    DONE = "done"
    GIVEN_UP = "given_up"
    KEPT = "kept"  # an early commit: conditional on the claim, the message stays leased


class MessageUpdate(NamedTuple):
    """What a commit makes of a leased message."""

    arrived: int
    claim: int
    outcome: MessageOutcome = MessageOutcome.DONE


class RecordedFact(NamedTuple):
    """A fact that the commit records. `arrived`: of the message that does; 0 without one."""

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
    PERSON = "person"  # holds its line until it is due; has no end


@dataclass(frozen=True, slots=True)
class PutBack:
    """A leased message that waits.

    Args:
        due_s: seconds until it is due again (not for a fact).
        code, reason: why it waits, and under which it is given up when the wait ends.
        spent: the attempt counts.
        fact: kind and key of what it waits for.
        end_s: the end of such a wait, in counted seconds; None: it has no end.
        product: that waits for a person.
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
    """The lines of one service's schema. Every method raises `Unavailable` during an outage."""

    def __init__(self, pool: asyncpg.Pool, schema: str) -> None:
        raise NotImplementedError

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
        raise NotImplementedError

    async def renew(
        self, held: Collection[tuple[int, int]], lease_s: float
    ) -> set[tuple[int, int]]:
        """Extend leases (arrived, claim); returns those that are lost."""
        raise NotImplementedError

    async def settle(
        self,
        connection: asyncpg.pool.PoolConnectionProxy,
        updates: Sequence[MessageUpdate],
        *,
        facts: Sequence[RecordedFact] = (),
        names: Sequence[RecordedName] = (),
    ) -> set[int]:
        """Settle messages in the caller's transaction, as its first statement.

        Returns `arrived` of those whose claim still held. Nothing of a lost one may be committed;
        its facts and names are not recorded.

        Raises (repeat the whole transaction): 40001, 40P01.
        """
        raise NotImplementedError

    async def put_back(self, group: Sequence[PutBack]) -> list[PutBackResult]:
        """Put leased messages back to wait; one result for each, in order."""
        raise NotImplementedError
