"""The inbox of one schema on a real database, with a clock that the test moves."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import asyncpg
import pytest
from pydantic import SecretStr

from shared.crypto.envelope import DataKeys, DayKey, UserKey, Vault
from shared.crypto.keyring import KeyRing
from shared.messaging.inbox.acceptance import Acceptance, AcceptResult
from shared.messaging.inbox.arrived_message import ArrivedMessage, GivenUp
from shared.messaging.inbox.dead_letters import DeadLetters
from shared.messaging.inbox.just_accepted import JustAccepted
from shared.messaging.inbox.leasing_at_once import NO_OFFER, LeaseTerms, SlotOffer
from shared.messaging.inbox.lines import (
    Lease,
    LeasedMessage,
    Lines,
    MessageOutcome,
    MessageUpdate,
    PutBack,
    PutBackResult,
    RecordedFact,
    RecordedName,
    WaitKind,
)
from shared.messaging.inbox.ordering_key import OrderingKey
from shared.messaging.inbox.waits import WaitEnds, WaitHolds
from shared.messaging.outbox.outbox import Outbox
from shared.storage import pool as pools
from tests.kit.servers import new_database

ROUTE = "user.updated.v1"
ROUTES: dict[str, dict[str, int]] = {
    "create.v1": {"billing": 2, "books": 1},
    "find.v1": {"billing": 1},
    "note.v1": {},
}


def limits(**calls: int) -> dict[str, Any]:
    return {
        product: {
            "lanes": ["urgent", "commands", "reads", "backfill"],
            "shares": [1.0] * 4,
            "unpaced": [1.0] * 4,
            "calls": count,
            "window_s": 60.0,
            "credits": None,
            "zone": None,
        }
        for product, count in calls.items()
    }


class OfferedSlots:
    """Offers a slot for each message that a release knows, on a test's terms. None at first."""

    def __init__(self) -> None:
        self.terms: LeaseTerms | None = None
        self.started: list[LeasedMessage] = []

    @contextmanager
    def offer(self, group: Sequence[ArrivedMessage]) -> Iterator[SlotOffer]:
        wanted = [message.waits is None for message in group]
        yield NO_OFFER if self.terms is None else _Offer(wanted, self.terms, self.started)


class _Offer:
    def __init__(
        self, wanted: Sequence[bool], terms: LeaseTerms, started: list[LeasedMessage]
    ) -> None:
        self.wanted = wanted
        self.terms = terms
        self._started = started

    def start(self, leased: Sequence[LeasedMessage]) -> None:
        self._started += leased


class Inbox:
    """What a replica does with its inbox, step by step."""

    def __init__(self, pool: asyncpg.Pool, vault: Vault) -> None:
        self.pool = pool
        self.now = datetime.now(UTC)
        self.vault = vault
        self.outbox = Outbox(pool, "test", vault, lease_s=30)
        self.just_accepted = JustAccepted()
        self.slots = OfferedSlots()
        self.acceptance = Acceptance(
            pool,
            "test",
            vault,
            self.outbox,
            self._refuse,
            just_accepted=self.just_accepted,
            slots=self.slots,
            clock=self.clock,
        )
        self.lines = Lines(pool, "test", clock=self.clock)
        self.ends = WaitEnds(pool, "test", clock=self.clock)
        self.dead_letters = DeadLetters(pool, "test", vault, clock=self.clock)
        self.refused: list[tuple[str, str]] = []
        self.left_due = False  # as the last settlement said

    def on(self, connection: Any) -> Inbox:
        """The same at this moment, inside a transaction of this connection's."""
        inbox = Inbox(cast("asyncpg.Pool", connection), self.vault)
        inbox.now = self.now
        return inbox

    def clock(self) -> datetime:
        return self.now

    def after(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    async def accept(self, *messages: ArrivedMessage) -> list[AcceptResult]:
        return await self.acceptance.accept(messages)

    async def accept_and_lease(
        self,
        *messages: ArrivedMessage,
        routes: Mapping[str, Mapping[str, int]] | None = None,
        limits: Mapping[str, object] | None = None,
        lease_s: float = 30,
    ) -> list[LeasedMessage]:
        """Accept them while there is a free slot for each. Returns what was leased with it."""
        self.slots.terms = LeaseTerms(routes or {}, limits or {}, 120.0, lease_s)
        try:
            await self.accept(*messages)
        finally:
            self.slots.terms = None
        started, self.slots.started[:] = [*self.slots.started], []
        return started

    async def lease(
        self,
        *,
        limit: int = 64,
        slots: dict[int, int] | None = None,
        routes: dict[str, dict[str, int]] | None = None,
        closed: Sequence[tuple[str, str, int]] = (),
        limits: dict[str, object] | None = None,
        lease_s: float = 30,
        idle: bool = True,
        answering_s: float = 3600,
    ) -> Lease:
        return await self.lines.lease(
            slots=slots or dict.fromkeys(range(4), limit),
            limit=limit,
            routes=routes or {ROUTE: {}, "other.v1": {}},
            orgs=["default"],
            closed=closed,
            limits=limits,
            lease_s=lease_s,
            idle=idle,
            answering_s=answering_s,
        )

    async def leased(self, **how: Any) -> list[LeasedMessage]:
        return (await self.lease(**how)).messages

    async def next(self, **how: Any) -> LeasedMessage:
        """The one message that is due."""
        [message] = await self.leased(**how)
        return message

    async def ids(self, **how: Any) -> list[str]:
        """The message ids of what a lease brings."""
        return [message.message_id for message in await self.leased(**how)]

    async def settle(
        self,
        *messages: LeasedMessage,
        outcome: MessageOutcome = MessageOutcome.DONE,
        facts: Sequence[tuple[str, str]] = (),
        names: Sequence[tuple[str, str, str]] = (),
    ) -> set[int]:
        by = messages[0].arrived if messages else 0
        async with self.pool.acquire() as connection, connection.transaction():
            return await self.settle_on(
                connection,
                *messages,
                outcome=outcome,
                facts=[RecordedFact("default", kind, key, by) for kind, key in facts],
                names=[RecordedName("default", *name, by) for name in names],
            )

    async def settle_on(
        self,
        connection: Any,
        *messages: LeasedMessage,
        outcome: MessageOutcome = MessageOutcome.DONE,
        facts: Sequence[RecordedFact] = (),
        names: Sequence[RecordedName] = (),
    ) -> set[int]:
        updates = [MessageUpdate(m.arrived, m.claim, outcome) for m in messages]
        settled = await self.lines.settle(connection, updates, facts=facts, names=names)
        self.left_due = settled.leaves_due
        return settled.won

    async def give_up(self, message: LeasedMessage, code: str = "internal_error") -> bool:
        letter = await self.dead_letters.of(message, code, "it went wrong")
        async with self.pool.acquire() as connection, connection.transaction():
            won = await self.settle_on(connection, message, outcome=MessageOutcome.GIVEN_UP)
            if won:
                await self.dead_letters.insert(connection, [letter])
        return bool(won)

    async def put_back(self, message: LeasedMessage, **how: Any) -> PutBackResult:
        entry = {"kind": WaitKind.TIME, "code": "postponed", "end_s": 3600.0, **how}
        [result] = await self.lines.put_back(
            [PutBack(arrived=message.arrived, claim=message.claim, **entry)]
        )
        return result

    async def wait_for(
        self, message: LeasedMessage, kind: str = "user", key: str = "u1", end_s: float = 900
    ) -> PutBackResult:
        return await self.put_back(
            message, kind=WaitKind.FACT, code=f"unknown_{kind}", fact=(kind, key), end_s=end_s
        )

    async def ended(self, **holds: Any) -> list[LeasedMessage]:
        return await self.ends.end_due(WaitHolds(**holds))

    async def open(self) -> list[str]:
        """The message ids of all that is open, by line and place."""
        rows = await self.pool.fetch(
            "SELECT message_id FROM test.inbox ORDER BY line, place, arrived"
        )
        return [row["message_id"] for row in rows]

    async def counts(self) -> tuple[int, int]:
        """Open messages and lines."""
        row = await self.pool.fetchrow(
            "SELECT (SELECT count(*) FROM test.inbox), (SELECT count(*) FROM test.lines)"
        )
        return row[0], row[1]

    async def _refuse(self, message: ArrivedMessage, code: str, reason: str) -> GivenUp:
        self.refused.append((message.message_id, code))
        return GivenUp(code, reason)


def message(
    message_id: str,
    user_id: str | None = "u1",
    *,
    body: bytes = b"{}",
    named: tuple[tuple[str, str], ...] = (),
    names: tuple[tuple[str, str], ...] = (),
    fallback: str | None = None,
    **fields: Any,
) -> ArrivedMessage:
    """A command of this user; of what it names, when there is no user."""
    if fallback is None and user_id is None and (named or names):
        fallback = ":".join((named or names)[0])
    return ArrivedMessage(
        **{
            "org": "default",
            "exchange": "zoho.commands",
            "routing_key": ROUTE,
            "message_id": message_id,
            "macs": hashlib.sha256(body).digest(),
            "ordering": OrderingKey(True, user_id, fallback, named, names),
            "body": body,
            **fields,
        }
    )


async def database(template: str, postgres_url: str) -> AsyncIterator[asyncpg.Pool]:
    """A clone of the migrated template."""
    async with (
        new_database(postgres_url, template) as url,
        pools.connect(SecretStr(url), size=8) as pool,
    ):
        yield pool


@pytest.fixture
async def pool(template: str, postgres_url: str) -> AsyncIterator[asyncpg.Pool]:
    async for pool in database(template, postgres_url):
        yield pool


@pytest.fixture
async def inbox(pool: asyncpg.Pool) -> Inbox:
    key = base64.b64encode(bytes(range(32))).decode()
    vault = Vault(DataKeys(pool, KeyRing.parse(f"e1:{key}")))
    await vault.key_of(DayKey("default"))
    await vault.key_of(UserKey("default", "u1"))
    return Inbox(pool, vault)
