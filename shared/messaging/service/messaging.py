"""Put messaging of one service together: topology, intake, dispatcher, commits, outbox."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Final, Self

import asyncpg
from pydantic import SecretStr

from shared.background import PeriodicTask
from shared.crypto.blind_index import BlindIndex
from shared.crypto.envelope import Vault
from shared.messaging.broker.bindings import Bindings
from shared.messaging.broker.connection import BROKER_ERRORS, ReconnectingConnection
from shared.messaging.broker.topology import Topology
from shared.messaging.dispatch.attempt import Attempts
from shared.messaging.dispatch.dispatcher import Dispatcher
from shared.messaging.dispatch.ends import EndsOfWaits
from shared.messaging.dispatch.putting_back import PuttingBack
from shared.messaging.dispatch.renewal import LeaseRenewal
from shared.messaging.dispatch.reservations import CallBudget, NoCalls, Pause
from shared.messaging.dispatch.wakeup import Wakeup
from shared.messaging.handling.observers import SettlementObserver, count_settled, log_settled
from shared.messaging.handling.policy import MessagingPolicy
from shared.messaging.handling.routes import Routes
from shared.messaging.inbox.acceptance import Acceptance
from shared.messaging.inbox.adoption import Adoption
from shared.messaging.inbox.backlog import Backlog
from shared.messaging.inbox.dead_letters import DeadLetters
from shared.messaging.inbox.just_accepted import JustAccepted
from shared.messaging.inbox.lines import Lines
from shared.messaging.inbox.suspects import Suspects
from shared.messaging.inbox.waits import BehindSince, WaitEnds
from shared.messaging.intake.consumer import QueueConsumer
from shared.messaging.intake.handover import Handover
from shared.messaging.intake.monitor import IntakeMonitor
from shared.messaging.intake.validation import Validation
from shared.messaging.outbox.committer import Committer
from shared.messaging.outbox.outbox import Outbox
from shared.messaging.service.retention import rules
from shared.messaging.service.sending import Sending
from shared.observability.metrics import Metrics
from shared.storage.pool import PooledConnection
from shared.storage.retention import Pruner

_DECLARE_EVERY_S: Final = 30.0


class _DeclareAgain(PeriodicTask):
    """Declares the topology again now and then: nobody reports an exchange that was deleted and
    made anew by others, without the bindings."""

    def __init__(self, link: ReconnectingConnection) -> None:
        super().__init__("declare topology", every_s=_DECLARE_EVERY_S, jitter=True)
        self._link = link

    async def _run_once(self) -> bool:
        with suppress(*BROKER_ERRORS):  # it is declared by whatever connects next
            await self._link.prepare_again()
        return False


class Messaging:
    """An async context manager for what a service does with messages.

    Entered: the topology is declared, queues are drained into the inbox, messages are worked off,
    the outbox is relayed, and all of it comes back by itself when the broker or the database was
    away. Left: intake closes its channels, what is in hand is finished within `drain_timeout_s`,
    the outbox is flushed. A broker that is down at the start is waited for in the background.

    `recorders`: by the kind of fact that something else than a message records, such as a flusher,
    the moment since which it is behind. Who waits for such a fact is not given up meanwhile.

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
        routes: Routes,
        policy: MessagingPolicy | None = None,
        budget: CallBudget | None = None,
        observers: Sequence[SettlementObserver] = (),
        recorders: Mapping[str, BehindSince] | None = None,
    ) -> None:
        self._policy = policy = policy or MessagingPolicy()
        budget = budget or NoCalls()
        self._pool = pool
        topology = Topology(service, routes, Bindings(pool))
        self._intake_link = ReconnectingConnection(amqp_url, f"{service} intake", topology.declare)
        self._sending = Sending(
            service=service,
            amqp_url=amqp_url,
            topology=topology,
            outbox=Outbox(pool, schema, vault, lease_s=policy.outbox_lease_s),
            metrics=metrics,
            policy=policy,
        )
        outgoing = self._sending.outgoing
        lines = Lines(pool, schema, longest=policy.waits.factor)
        wakeup = Wakeup()
        just_accepted = JustAccepted()
        self.committer = Committer(
            pool, schema, vault, self._sending.outbox, outgoing, left_due=wakeup.set
        )
        self._renewal = renewal = LeaseRenewal(lines, policy.lease_s)
        attempts = Attempts(
            service=service,
            routes=routes,
            vault=vault,
            lines=lines,
            committer=self.committer,
            publisher=outgoing,
            just_accepted=just_accepted,
            dead_letters=DeadLetters(pool, schema, vault),
            putting_back=PuttingBack(lines, policy.waits, wakeup),
            budget=budget,
            policy=policy,
            observers=[count_settled(metrics, service, routes), log_settled, *observers],
        )
        self._dispatcher = Dispatcher(
            lines,
            routes,
            attempts,
            renewal,
            wakeup,
            budget,
            orgs=policy.known_orgs,
            slots=policy.slots,
            lease_s=policy.lease_s,
        )
        backlog = Backlog(pool, schema)
        monitor = IntakeMonitor(
            backlog, self._intake_link, topology.queues, policy, metrics, service
        )
        validation = Validation(
            service,
            routes,
            vault,
            digest,
            known_orgs=policy.known_orgs,
            release_s=policy.waits.release_s,
        )
        self._acceptance = Acceptance(
            pool,
            schema,
            vault,
            self._sending.outbox,
            validation.refuse,
            just_accepted=just_accepted,
            slots=self._dispatcher,
            left_due=wakeup.set,
            given_up=lambda org, code: metrics.dead_letters_given_up.labels(
                org, service, code
            ).inc(),
        )
        handover = Handover(
            validation,
            self._acceptance,
            Suspects(pool, schema),
            answers=self._answers,
            observe=lambda result, count: metrics.messages_accepted.labels(service, result).inc(
                count
            ),
        )
        self._consumers = [
            QueueConsumer(
                queue,
                self._intake_link,
                handover,
                monitor,
                known_orgs=policy.known_orgs,
                lingers=routes.lingers,
                refused=topology.refused,
                dropped=metrics.headers_dropped.labels(queue).inc,
            )
            for queue in topology.queues
        ]
        self._backlog = backlog
        ends = EndsOfWaits(
            WaitEnds(pool, schema, longest=policy.waits.factor),
            attempts,
            budget,
            orgs=policy.known_orgs,
            behind=monitor.is_behind,
            recorders=recorders or {},
        )
        self._parts = (
            self._intake_link,
            renewal,
            Pruner(pool, rules(schema, dead_letter_days=policy.dead_letter_days)),
            monitor,
            _DeclareAgain(self._intake_link),
            Adoption(pool, schema, routes),
            self._dispatcher,
            ends,
            *self._consumers,
        )
        self._stack = AsyncExitStack()

    async def rehearse(self, connection: PooledConnection) -> None:
        """Accept and settle a message of nobody, in a transaction that the caller undoes."""
        message = await self._acceptance.rehearse(connection)
        await self.committer.rehearse(connection, message)

    async def ready(self) -> bool:
        """True while the broker is connected both ways and work goes on: a check for /readyz."""
        return (
            self._sending.publisher.is_up
            and self._intake_link.is_up
            and not self._dispatcher.stands(self._policy.stands_s)
            and all(each.stands_for_s < self._policy.stands_s for each in self._consumers)
        )

    def pauses(self) -> list[Pause]:
        """The products whose messages are passed over now, with why and for how long."""
        return self._dispatcher.pauses()

    async def oldest_command_s(self, org: str) -> float:
        """Seconds since the oldest open command was accepted. 0 when none is open."""
        return await self._backlog.oldest_s(org)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._sending)
            for part in self._parts:
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
            # Intake first, so that a standby goes on with the queue while this one finishes.
            await asyncio.gather(
                *(consumer.drain(timeout_s) for consumer in self._consumers),
                self._dispatcher.drain(timeout_s),
            )
        finally:
            await self._stack.aclose()

    async def _answers(self) -> bool:
        """Whether another connection to the database answers now."""
        try:
            async with asyncio.timeout(2.0):
                await self._pool.fetchval("SELECT 1")
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        return True
