"""Messaging of one service: topology, consumers, commits, outbox. What an app.py enters."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

import asyncpg
from pydantic import SecretStr

from shared.crypto.blind_index import BlindIndex
from shared.crypto.envelope import Vault
from shared.messaging.committer import Committer
from shared.messaging.observers import Observer
from shared.messaging.policy import MessagingPolicy
from shared.messaging.routes import Lane
from shared.observability.metrics import Metrics


class Messaging:
    """An async context manager. Entered: the topology is declared, lanes are consumed, the outbox
    is relayed, and all of it comes back by itself when the broker or the database was away. Left:
    consumers are cancelled, what is in flight is finished within `drain_timeout_s`, the outbox is
    flushed. A broker that is down at the start is waited for in the background.

    `lanes` may be empty (the gateway): then it only sends.
    """

    committer: Committer

    def __init__(
        self,
        *,
        service: str,
        schema: str,
        amqp_url: SecretStr,
        pool: asyncpg.Pool,
        vault: Vault,
        digest: BlindIndex,
        metrics: Metrics,
        lanes: Sequence[Lane] = (),
        policy: MessagingPolicy | None = None,
        observers: Sequence[Observer] = (),
    ) -> None: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    async def ready(self) -> bool:
        """True while the broker is connected: a check for /readyz."""
