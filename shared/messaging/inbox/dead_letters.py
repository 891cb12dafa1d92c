"""Keep messages that were given up, until somebody replays or discards them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from shared.crypto.envelope import Vault
from shared.messaging.inbox.lines import LeasedMessage


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was given up. Its body is sealed under its user's key where one is known."""

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
    given_up_at: datetime | None = None
    state: str = "waiting"


class DeadLetters:
    """The dead letters of one service's schema."""

    def __init__(self, pool: asyncpg.Pool, schema: str, vault: Vault) -> None:
        raise NotImplementedError

    async def of(
        self, message: LeasedMessage, code: str, reason: str, body: bytes | None = None
    ) -> DeadLetter:
        """The dead letter of a leased message; its body is opened and sealed again.

        Call it before the transaction: it may fetch keys. `body`: already open.
        """
        raise NotImplementedError

    async def insert(
        self, connection: asyncpg.pool.PoolConnectionProxy, letters: Sequence[DeadLetter]
    ) -> None:
        """Store them in the transaction that gives the messages up."""
        raise NotImplementedError

    async def page(
        self,
        *,
        org: str | None = None,
        code: str | None = None,
        routing_key: str | None = None,
        after: int = 0,
        limit: int = 50,
    ) -> list[DeadLetter]:
        """Those that wait for somebody, oldest first; `after`: the last `arrived` seen."""
        raise NotImplementedError

    async def open(self, letter: DeadLetter) -> bytes:
        """Its body as it came."""
        raise NotImplementedError

    async def replay(self, arrived: int, *, by: str) -> bool:
        """Put it at the end of its line again, its attempts forgotten. False: not there."""
        raise NotImplementedError

    async def discard(self, arrived: int, *, by: str) -> bool:
        """Keep nothing of it but who discarded it and when. False: not there."""
        raise NotImplementedError

    async def counts(self) -> Mapping[tuple[str, str], int]:
        """How many wait for somebody, by organization and code."""
        raise NotImplementedError
