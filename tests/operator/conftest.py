"""Run a billing-worker with handlers of the test's own, and the operator's command beside it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import aio_pika
import asyncpg
import pytest
import structlog
from aio_pika.abc import AbstractChannel
from pydantic import SecretStr

from services.operator.__main__ import main
from shared.contracts.commands import COMMANDS
from shared.crypto.blind_index import BlindIndex
from shared.crypto.envelope import DataKeys, Vault
from shared.crypto.keyring import KeyRing
from shared.messaging.handling.observers import Settled
from shared.messaging.handling.policy import MessagingPolicy, RetryPolicy
from shared.messaging.handling.routes import Route, Routes
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.messaging.service.messaging import Messaging
from shared.observability.metrics import Metrics
from shared.storage import pool as pools
from shared.storage.migrations import migrate

KEY = base64.b64encode(bytes(range(32))).decode()
# A lease that a test sets to lapsed stays so: the next renewal is minutes away.
POLICY = MessagingPolicy(retry=RetryPolicy(max_attempts=1), lease_s=600.0, relay_poll_s=0.1)

Handle = Callable[[Any, UnitOfWork], Awaitable[None]]


@dataclass(frozen=True)
class CommandOutput:
    """The output of a command, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.out)
        return found


class Desk:
    """Sends commands to a worker, and runs `zoho-relay` as an operator does."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        vault: Vault,
        channel: AbstractChannel,
        environment: dict[str, str],
    ) -> None:
        self.pool = pool
        self.channel = channel
        self.settled: asyncio.Queue[Settled] = asyncio.Queue()
        self._vault = vault
        self._environment = environment

    def worker(self, handlers: dict[str, Handle]) -> Messaging:
        """billing-worker, to be entered."""
        routes = {key: Route(COMMANDS[key], handle) for key, handle in handlers.items()}
        return Messaging(
            service="billing-worker",
            schema="billing",
            amqp_url=SecretStr(self._environment["AMQP_URL"]),
            pool=self.pool,
            vault=self._vault,
            digest=BlindIndex(KeyRing.parse(f"i1:{KEY}"), "billing"),
            metrics=Metrics("billing-worker"),
            routes=Routes(commands=routes, unrouted=True),
            policy=POLICY,
            observers=[self.settled.put_nowait],
        )

    async def send(self, routing_key: str, message_id: str, **fields: Any) -> None:
        """Publish a command, and wait until it is settled or refused."""
        exchange = await self.channel.get_exchange("zoho.commands", ensure=False)
        body = json.dumps(fields).encode()
        await exchange.publish(aio_pika.Message(body, message_id=message_id), routing_key)
        await until(lambda: self._is_over(message_id))

    async def _is_over(self, message_id: str) -> bool:
        """Whether it was settled, or given up as it arrived."""
        if not self.settled.empty():
            self.settled.get_nowait()
            return True
        refused = "SELECT count(*) FROM billing.dead_letters WHERE message_id = $1 AND attempts = 0"
        return bool(await self.pool.fetchval(refused, message_id))

    async def next_settled(self) -> Settled:
        return await asyncio.wait_for(self.settled.get(), 30)

    async def ask(self, *arguments: str, **environment: str) -> CommandOutput:
        """Run `zoho-relay` with these arguments, in a thread and event loop of its own."""
        return await asyncio.to_thread(_run, arguments, {**self._environment, **environment})


def _run(arguments: tuple[str, ...], environment: dict[str, str]) -> CommandOutput:
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = _exit_code(list(arguments))
    return CommandOutput(code, out.getvalue(), err.getvalue())


def _exit_code(arguments: list[str]) -> int:
    try:
        main(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        logging.disable(logging.NOTSET)
        structlog.reset_defaults()
    return 0


@pytest.fixture
async def desk(database_url: str, amqp_url: str) -> AsyncIterator[Desk]:
    environment = {
        "ZOHO_RELAY_ENV_FILE": "",
        "AMQP_URL": amqp_url,
        "DATABASE_URL": database_url,
        "ENCRYPTION_KEYS": f"e1:{KEY}",
        "INDEX_KEYS": f"i1:{KEY}",
    }
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(pools.connect(SecretStr(database_url), size=8))
        await migrate(pool, schema="billing")
        vault = Vault(DataKeys(pool, KeyRing.parse(f"e1:{KEY}")))
        connection = await stack.enter_async_context(await aio_pika.connect(amqp_url))
        yield Desk(pool, vault, await connection.channel(), environment)


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    """Return once `check` is true. For what gives no signal when it happens."""
    async with asyncio.timeout(30):
        while True:
            if await check():
                return
            await asyncio.sleep(0.05)
