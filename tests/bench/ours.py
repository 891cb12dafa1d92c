"""Run a worker's whole path as a service has it: every guarantee on, a handler without Zoho."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import ClassVar, Final

from pydantic import SecretStr

from shared.contracts.commands import InteractionRecorded
from shared.contracts.events import Event
from shared.crypto.blind_index import BlindIndex
from shared.crypto.keyring import KeyRing
from shared.messaging.handling.observers import Settled
from shared.messaging.handling.policy import MessagingPolicy
from shared.messaging.handling.routes import COMMANDS, Route, Routes
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.messaging.service.messaging import Messaging
from shared.observability.metrics import Metrics
from shared.runtime import collect_less_often
from shared.storage import pool as pools
from tests.bench.workload import (
    KEY,
    NOTE,
    ROUTING_KEY,
    Clock,
    Servers,
    fill,
    prepare,
    vault_of,
)

# Twice what one commit takes: a group is handled while the one before it is committed. What calls
# Zoho needs fewer, and is bounded by the ledger.
_SLOTS: Final = 256


class Noted(Event):
    routing_key: ClassVar[str] = "noted.v1"
    carries_state: ClassVar[bool] = True
    user_id: str

    def subject(self) -> str:
        return self.user_id


async def run(servers: Servers, count: int, prefix: str) -> float:
    """Messages per second."""
    clock = Clock(count)

    async def handle(message: InteractionRecorded, work: UnitOfWork) -> None:
        clock.begin()
        work.record(NOTE, work.org, message.user_id, message.interaction_id, work.arrived)
        work.publish(Noted(user_id=message.user_id))

    def settled(_: Settled) -> None:
        clock.end()

    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(
            pools.connect(SecretStr(servers.database_url), size=8)
        )
        await prepare(pool)
        routes = Routes(commands={ROUTING_KEY: Route(InteractionRecorded, handle)})
        parts = {
            "schema": "bench",
            "amqp_url": SecretStr(servers.amqp_url),
            "pool": pool,
            "vault": vault_of(pool),
            "digest": BlindIndex(KeyRing.parse(KEY), "bench"),
        }
        # The queue is declared, then filled, then consumed.
        async with Messaging(service="declare", metrics=Metrics("declare"), routes=routes, **parts):  # type: ignore[arg-type]
            await asyncio.sleep(1)
        await fill(servers.amqp_url, COMMANDS, ROUTING_KEY, prefix, count)
        await stack.enter_async_context(
            Messaging(
                service="declare",
                metrics=Metrics("bench"),
                routes=routes,
                policy=MessagingPolicy(slots=_SLOTS),
                observers=[settled],
                **parts,  # type: ignore[arg-type]
            )
        )
        collect_less_often()  # as each service does
        async with asyncio.timeout(300):
            await clock.done.wait()
    return clock.rate
