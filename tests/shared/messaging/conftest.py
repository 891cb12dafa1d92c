"""A service with handlers of the test's own, on a real broker and a real database."""

from __future__ import annotations

import asyncio
import base64
import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

import aio_pika
import asyncpg
import orjson
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue
from pydantic import SecretStr

from shared.contracts.commands import COMMANDS, Command, UserUpdated
from shared.contracts.events import Event
from shared.crypto.blind_index import BlindIndex
from shared.crypto.envelope import DataKeys, Vault
from shared.crypto.keyring import KeyRing
from shared.messaging.dispatch.reservations import CallBudget
from shared.messaging.handling.observers import Settled
from shared.messaging.handling.policy import MessagingPolicy, RetryPolicy, WaitPolicy
from shared.messaging.handling.routes import Route, Routes
from shared.messaging.handling.settlement import Settlement
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.messaging.inbox.dead_letters import DeadLetter, DeadLetters
from shared.messaging.service.messaging import Messaging
from shared.observability.metrics import Metrics
from shared.storage import pool as pools
from shared.storage.migrations import migrate
from tests.kit.servers import new_database

Handle = Callable[[Any, UnitOfWork], Awaitable[None]]

RETRY = RetryPolicy(max_attempts=3, backoff=(0.2, 0.3))
POLICY = MessagingPolicy(
    retry=RETRY,
    waits=WaitPolicy(other_facts_s=900.0),
    outbox_lease_s=30.0,
    relay_poll_s=0.1,
    drain_timeout_s=10.0,
)

KEY = f"e1:{base64.b64encode(bytes(range(32))).decode()}"

RECORD = "INSERT INTO test.handled (message_id, note) VALUES ($1, $2)"


class Noted(Event):
    """An event of the tests."""

    routing_key: ClassVar[str] = "noted.v1"
    carries_state: ClassVar[bool] = True
    user_id: str
    note: str

    def subject(self) -> str:
        return f"user:{self.user_id}"


async def note(message: UserUpdated, work: UnitOfWork) -> None:
    """The handler most tests use: a row and an event."""
    assert work.received is not None
    work.record(RECORD, work.received.message_id, message.full_name)
    work.publish(Noted(user_id=message.user_id, note=message.full_name or ""))


@dataclass
class Parts:
    """What a service is made of, for tests that take it apart."""

    pool: asyncpg.Pool
    vault: Vault
    digest: BlindIndex
    amqp_url: SecretStr
    broker: Proxy
    database: Proxy


class Bench:
    """Starts services, sends to them, and hears what they say."""

    def __init__(self, parts: Parts, stack: AsyncExitStack, channel: AbstractChannel) -> None:
        self.parts = parts
        self.channel = channel
        self.settled: asyncio.Queue[Settled] = asyncio.Queue()
        self.metrics: list[Metrics] = []
        self.sent = 0
        self._stack = stack

    async def start(
        self,
        handlers: dict[str, Handle] | None = None,
        *,
        service: str = "billing-worker",
        routes: Routes | None = None,
        policy: MessagingPolicy = POLICY,
        budget: CallBudget | None = None,
        stack: AsyncExitStack | None = None,
    ) -> Messaging:
        """A replica that handles `user.updated.v1` with `note`, unless told otherwise."""
        if routes is None:
            handlers = handlers or {"user.updated.v1": note}
            table = {key: Route(COMMANDS[key], handle) for key, handle in handlers.items()}
            routes = Routes(commands=table, unrouted=True)
        self.metrics.append(Metrics(service))
        messaging = Messaging(
            service=service,
            schema="test",
            amqp_url=self.parts.amqp_url,
            pool=self.parts.pool,
            vault=self.parts.vault,
            digest=self.parts.digest,
            metrics=self.metrics[-1],
            routes=routes,
            policy=policy,
            budget=budget,
            observers=[self.settled.put_nowait],
        )
        await (stack or self._stack).enter_async_context(messaging)
        await until(messaging.ready)
        return messaging

    async def send(
        self,
        command: Command | bytes,
        *,
        message_id: str | None = "",
        routing_key: str | None = None,
        exchange: str = "zoho.commands",
        reply_to: str | None = None,
        headers: dict[str, Any] | None = None,
    ) -> str:
        if isinstance(command, Command):
            body = command.model_dump_json(exclude_unset=True).encode()
            routing_key = routing_key or command.routing_key
        else:
            body = command
        if message_id == "":
            message_id = uuid.uuid4().hex
        target = await self.channel.get_exchange(exchange, ensure=False)
        message = aio_pika.Message(
            body, message_id=message_id, reply_to=reply_to, headers=headers, delivery_mode=2
        )
        await target.publish(message, routing_key or "")
        self.sent += 1
        return message_id or ""

    async def next_settled(self) -> Settled:
        return await asyncio.wait_for(self.settled.get(), 20)

    async def next_settlement(self) -> Settlement:
        return (await self.next_settled()).settlement

    async def listen(self, exchange: str = "zoho.events", key: str = "#") -> Listener:
        queue = await self.channel.declare_queue(exclusive=True)
        await queue.bind(exchange, key)
        return await Listener.of(queue)

    async def dead_letter(self) -> DeadLetter:
        """The one dead letter that there is, once it is there."""
        letters: list[DeadLetter] = []

        async def kept() -> bool:
            letters[:] = await self.dead_letters()
            return bool(letters)

        await until(kept)
        [letter] = letters
        return letter

    async def dead_letters(self) -> list[DeadLetter]:
        return await DeadLetters(self.parts.pool, "test", self.parts.vault).page()

    async def open(self, letter: DeadLetter) -> bytes:
        return await DeadLetters(self.parts.pool, "test", self.parts.vault).open(letter)

    async def accepted_all(self, more: int = 0) -> None:
        """Return once all that was sent is accepted, and `more` of it that came again."""
        await until(lambda: self._accepted(self.sent + more))

    async def _accepted(self, count: int) -> bool:
        samples = [
            sample.value
            for metrics in self.metrics
            for family in metrics.messages_accepted.collect()
            for sample in family.samples
        ]
        return sum(samples) >= count

    async def open_messages(self) -> int:
        """How many messages are accepted and not settled."""
        return int(await self.parts.pool.fetchval("SELECT count(*) FROM test.inbox"))

    async def handled(self) -> list[str]:
        """Notes in the order in which they were committed."""
        rows = await self.parts.pool.fetch("SELECT note FROM test.handled ORDER BY seq")
        return [row["note"] for row in rows]


class Listener:
    """The messages of one queue, one by one."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()

    @classmethod
    async def of(cls, queue: AbstractQueue) -> Listener:
        listener = cls()

        async def hear(message: AbstractIncomingMessage) -> None:
            listener.messages.put_nowait(message)

        await queue.consume(hear, no_ack=True)
        return listener

    async def next(self, within_s: float = 20) -> AbstractIncomingMessage:
        return await asyncio.wait_for(self.messages.get(), within_s)

    async def next_body(self, within_s: float = 20) -> dict[str, Any]:
        body: dict[str, Any] = orjson.loads((await self.next(within_s)).body)
        return body


class Proxy:
    """Stands between a service and a server, and can be cut."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._server: asyncio.Server | None = None
        self._held = socket.socket()  # bound, never listening: the port stays ours while down
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._held.bind(("127.0.0.1", 0))
        self._writers: set[asyncio.StreamWriter] = set()
        self._loses: Literal["request", "answer"] | None = None
        self._loses_of = b""
        self.lost = 0
        self.port: int = self._held.getsockname()[1]

    @property
    def url(self) -> str:
        user = self._parts.netloc.rpartition("@")[0]
        return self._parts._replace(netloc=f"{user}@127.0.0.1:{self.port}").geturl()

    async def up(self) -> None:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, reuse_port=True
        )

    async def down(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def end(self) -> None:
        await self.down()
        self._held.close()

    def lose_commit(self, what: Literal["request", "answer"]) -> None:
        """Cut the connection of the next COMMIT: before the server has it, or once it is done."""
        self.lose(what, of=b"COMMIT;")

    def lose(self, what: Literal["request", "answer"], *, of: bytes) -> None:
        """Cut the connection of the next request in which these bytes are, as `lose_commit`."""
        self._loses, self._loses_of = what, of

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(
            self._parts.hostname, self._parts.port
        )
        self._writers |= {writer, far_writer}
        cut = asyncio.Event()  # from now on what the server answers is lost
        await asyncio.gather(
            self._ask(reader, far_writer, cut), _answer(far_reader, writer, far_writer, cut)
        )
        self._writers -= {writer, far_writer}

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: asyncio.Event
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if self._loses is not None and self._loses_of in data:
                    loses, self._loses = self._loses, None
                    self.lost += 1
                    cut.set()
                    if loses == "request":
                        break
                writer.write(data)
        writer.close()


async def _answer(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    asker: asyncio.StreamWriter,
    cut: asyncio.Event,
) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            if cut.is_set():
                asker.transport.abort()
                break
            writer.write(data)
    writer.close()


def named(name: str, user_id: str = "u1") -> UserUpdated:
    """A command that the `note` handler notes."""
    return UserUpdated(user_id=user_id, full_name=name)


async def until(check: Callable[[], Awaitable[bool]], timeout_s: float = 20) -> None:
    """Return once `check` says so; for what tells nobody when it happens."""
    async with asyncio.timeout(timeout_s):
        while not await check():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.fixture(scope="session")
def template(postgres_url: str) -> Iterator[str]:
    """A migrated database, cloned for each test."""
    name = f"template_{uuid.uuid4().hex}"

    async def make() -> None:
        await _admin(postgres_url, f'CREATE DATABASE "{name}"')
        url = urlsplit(postgres_url)._replace(path=f"/{name}").geturl()
        async with pools.connect(SecretStr(url), size=2) as pool:
            await migrate(pool, schema="test")
            await pool.execute(
                "CREATE TABLE test.handled (seq bigserial, message_id text PRIMARY KEY, note text)"
            )

    asyncio.run(make())
    yield name
    asyncio.run(_admin(postgres_url, f'DROP DATABASE "{name}"'))


async def _admin(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture
async def parts(template: str, postgres_url: str, amqp_url: str) -> AsyncIterator[Parts]:
    async with new_database(postgres_url, template) as url:
        broker, database = Proxy(amqp_url), Proxy(url)
        await broker.up()
        await database.up()
        async with pools.connect(SecretStr(database.url), size=8) as pool:
            vault = Vault(DataKeys(pool, KeyRing.parse(KEY)))
            digest = BlindIndex(KeyRing.parse(KEY.replace("e1:", "i1:")), "test")
            yield Parts(pool, vault, digest, SecretStr(broker.url), broker, database)
        await broker.end()
        await database.end()


@pytest.fixture
async def bench(parts: Parts, amqp_url: str) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        connection = await aio_pika.connect(amqp_url)
        await stack.enter_async_context(connection)
        channel = await connection.channel()
        yield Bench(parts, stack, channel)


def quicker(**changes: Any) -> MessagingPolicy:
    return replace(POLICY, **changes)
