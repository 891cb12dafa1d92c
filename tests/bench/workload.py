"""Define the work of all contenders: one kind of message, one row, one event, one transaction."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final

import aio_pika
import asyncpg

from shared.contracts.commands import InteractionRecorded
from shared.crypto.envelope import DataKeys, Vault
from shared.crypto.keyring import KeyRing
from shared.storage.migrations import migrate

IN_FLIGHT: Final = 32
ROUTING_KEY: Final = InteractionRecorded.routing_key
_CONTENT: Final = "What the user said to the assistant, and what it answered. " * 15

NOTE: Final = """
    INSERT INTO bench.notes (org, user_id, interaction_id, arrived) VALUES ($1, $2, $3, $4)
    ON CONFLICT (org, user_id) DO UPDATE
    SET interaction_id = excluded.interaction_id, arrived = excluded.arrived
    """

TABLES: Final = """
    CREATE TABLE bench.notes (
        org text NOT NULL, user_id text NOT NULL, interaction_id text NOT NULL,
        arrived bigint NOT NULL, PRIMARY KEY (org, user_id)
    )
    """

KEY: Final = "bench:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="


@dataclass(frozen=True)
class Servers:
    amqp_url: str
    database_url: str


def body_of(number: int) -> bytes:
    """About 1 KiB of JSON. Every message is of another user, so no line holds another."""
    message = InteractionRecorded(
        user_id=f"user-{number}",
        interaction_id=f"interaction-{number}",
        title="A question about an invoice",
        content=_CONTENT,
    )
    return message.model_dump_json(exclude_unset=True).encode()


async def prepare(pool: asyncpg.Pool) -> None:
    """The schema, and the table that the work is about."""
    await migrate(pool, schema="bench")
    if await pool.fetchval("SELECT to_regclass('bench.notes') IS NULL"):
        await pool.execute(TABLES)


def vault_of(pool: asyncpg.Pool) -> Vault:
    return Vault(DataKeys(pool, KeyRing.parse(KEY)))


async def fill(amqp_url: str, exchange: str, routing_key: str, prefix: str, count: int) -> None:
    """Publish the messages of one run. Returns once the broker has them all."""
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        target = (
            await channel.get_exchange(exchange, ensure=False)
            if exchange
            else (channel.default_exchange)
        )

        async def publish(number: int) -> None:
            message = aio_pika.Message(
                body_of(number),
                message_id=f"{prefix}-{number}",
                correlation_id=f"c-{number}",
                content_type="application/json",
                delivery_mode=2,
            )
            await target.publish(message, routing_key)

        for start in range(0, count, 200):
            await asyncio.gather(*map(publish, range(start, min(start + 200, count))))


class Clock:
    """Messages per second between the first message's begin and the last one's end."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._count = count
        self._began = 0.0
        self._ended = 0.0
        self.done = asyncio.Event()

    def begin(self) -> None:
        self._began = self._began or time.perf_counter()

    def end(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._ended = time.perf_counter()
            self.done.set()

    @property
    def rate(self) -> float:
        return self._count / (self._ended - self._began)
