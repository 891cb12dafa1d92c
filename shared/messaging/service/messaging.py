"""Messaging of one service: topology, consumers, commits, outbox. What an app.py enters."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

import asyncpg
from pydantic import SecretStr

from shared.crypto.blind_index import BlindIndex
from shared.crypto.envelope import Vault
from shared.messaging.broker.connection import ReconnectingConnection
from shared.messaging.broker.topology import Topology
from shared.messaging.consuming.attempt import compose
from shared.messaging.consuming.consumer import Consumer
from shared.messaging.consuming.dead_lettering import DeadLettering
from shared.messaging.consuming.delayed_retry import DelayedRetry
from shared.messaging.consuming.handle_once import OnceAndInTurn, call_handler
from shared.messaging.consuming.observe import observe
from shared.messaging.consuming.open_and_parse import open_and_parse
from shared.messaging.consuming.queue_uptime import QueueUptime
from shared.messaging.consuming.settle import Settle, Settler
from shared.messaging.consuming.waiting import TurnNotifier
from shared.messaging.handling.observers import SettlementObserver, count_settled, log_settled
from shared.messaging.handling.policy import MessagingPolicy
from shared.messaging.handling.routes import QueueConfig
from shared.messaging.inbox.inbox import Inbox
from shared.messaging.inbox.lease_renewal import LeaseRenewal
from shared.messaging.outbox.committer import Committer
from shared.messaging.outbox.outbox import Outbox
from shared.messaging.service.retention import rules
from shared.messaging.service.sending import Sending
from shared.observability.metrics import Metrics
from shared.storage.retention import Pruner


class Messaging:
    """An async context manager. Entered: the topology is declared, lanes are consumed, the outbox
    is relayed, and all of it comes back by itself when the broker or the database was away. Left:
    consumers are cancelled, what is in flight is finished within `drain_timeout_s`, the outbox is
    flushed. A broker that is down at the start is waited for in the background.

    `schema` is migrated already. A service that only sends enters `Sending` alone.
    """

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
        lanes: Sequence[QueueConfig],
        policy: MessagingPolicy | None = None,
        observers: Sequence[SettlementObserver] = (),
    ) -> None:
        self._policy = policy = policy or MessagingPolicy()
        self._service = service
        self._lanes = list(lanes)
        self._metrics = metrics
        topology = Topology(service, lanes, policy.retry)
        self._consume_link = ReconnectingConnection(
            amqp_url, f"{service} consume", topology.declare
        )
        self._sending = Sending(
            service=service,
            amqp_url=amqp_url,
            topology=topology,
            outbox=Outbox(pool, schema, vault, lease_s=policy.outbox_lease_s),
            metrics=metrics,
            policy=policy,
        )
        self._outgoing = self._sending.outgoing
        self.committer = Committer(pool, schema, vault, self._sending.outbox, self._outgoing)
        self._inbox = Inbox(pool, schema, lease_s=policy.lease_s)
        self._leases = LeaseRenewal(self._inbox, policy.lease_s)
        self._retries = DelayedRetry(self._sending.publisher, service, policy.retry)
        self._pruner = Pruner(pool, rules(schema))
        self._reading = QueueUptime(lane.queue(service) for lane in self._lanes)
        settle = self._chain(vault, digest, [log_settled, *observers])
        self._consumers = [self._consumer(lane, settle) for lane in self._lanes]
        self._stack = AsyncExitStack()

    async def ready(self) -> bool:
        """True while the broker is connected both ways: a check for /readyz."""
        return self._sending.publisher.is_up and self._consume_link.is_up

    async def oldest_command_s(self, org: str) -> float:
        """Seconds since the oldest command in line was first seen; 0 when none is."""
        return await self._inbox.oldest_in_line_s(org)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._sending)
            for part in (self._consume_link, self._leases, self._pruner, *self._consumers):
                await stack.enter_async_context(part)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            timeout_s = self._policy.drain_timeout_s
            await asyncio.gather(*(consumer.drain(timeout_s) for consumer in self._consumers))
        finally:
            await self._stack.aclose()

    def _chain(
        self, vault: Vault, digest: BlindIndex, observers: list[SettlementObserver]
    ) -> Settle:
        turns = TurnNotifier()
        once = OnceAndInTurn(
            inbox=self._inbox,
            leases=self._leases,
            committer=self.committer,
            outgoing=self._outgoing,
            turns=turns,
            digest=digest,
            reading=self._reading,
            policy=self._policy,
        )
        settler = Settler(
            inbox=self._inbox,
            retries=self._retries,
            giving_up=DeadLettering(
                self._service, self.committer, digest, kept_s=self._policy.dead_letters_kept_s
            ),
            outgoing=self._outgoing,
            turns=turns,
            policy=self._policy.retry,
        )
        handle = compose(
            call_handler, open_and_parse(vault, self._policy.known_orgs), once.handle_once
        )
        counted = count_settled(self._metrics, self._lanes)
        return observe(settler.settle(handle), [counted, *observers])

    def _consumer(self, lane: QueueConfig, settle: Settle) -> Consumer:
        return Consumer(
            lane,
            self._service,
            self._consume_link,
            settle,
            self._retries,
            self._reading,
            known_orgs=self._policy.known_orgs,
            on_pause=lambda queue, paused: self._metrics.consumer_paused.labels(queue).set(paused),
        )
