"""Run what a good engineer writes by hand: the measure for our own messaging.

aio-pika with callbacks, asyncpg with prepared statements, uvloop, 32 in flight. The statements of
the same unit of work one by one: inbox, change (with its version) and outbox in one transaction,
then publish with confirm, then ack. It seals the outbox body as ours does. It has no claims or
leases, no lines, no retries, does not survive its connections, and having no relay it does not mark
what is published.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

import aio_pika
import asyncpg
import orjson
from aio_pika.abc import AbstractIncomingMessage

from shared.contracts.commands import InteractionRecorded
from shared.crypto.envelope import DayKey
from tests.bench.workload import (
    IN_FLIGHT,
    ROUTING_KEY,
    Clock,
    Servers,
    fill,
    prepare,
    vault_of,
)

QUEUE: Final = "baseline"

SCHEMA: Final = """
    CREATE TABLE bench.base_inbox (
        org text, routing_key text, message_id text, body_mac bytea, handled_at timestamptz,
        PRIMARY KEY (org, routing_key, message_id)
    );
    CREATE TABLE bench.base_notes (
        org text, user_id text, interaction_id text, version bigint, PRIMARY KEY (org, user_id)
    );
    CREATE TABLE bench.base_outbox (
        id uuid PRIMARY KEY, org text, exchange text, routing_key text, body bytea,
        published_at timestamptz
    );
    CREATE INDEX ON bench.base_outbox (id) WHERE published_at IS NULL;
    """

INBOX: Final = """
    INSERT INTO bench.base_inbox VALUES ($1, $2, $3, $4, now()) ON CONFLICT DO NOTHING
    RETURNING message_id
    """
CHANGE: Final = """
    INSERT INTO bench.base_notes (org, user_id, interaction_id, version) VALUES ($1, $2, $3, 1)
    ON CONFLICT (org, user_id) DO UPDATE
    SET interaction_id = excluded.interaction_id, version = base_notes.version + 1
    RETURNING version
    """
OUTBOX: Final = "INSERT INTO bench.base_outbox VALUES ($1, $2, $3, $4, $5, NULL)"


async def run(servers: Servers, count: int, prefix: str) -> float:
    """Messages per second."""
    clock = Clock(count)
    async with (
        asyncpg.create_pool(servers.database_url, min_size=8, max_size=8, reset=_keep) as pool,
        await aio_pika.connect(servers.amqp_url) as consuming,
        await aio_pika.connect(servers.amqp_url) as publishing,
    ):
        await _prepare(pool)
        vault = vault_of(pool)
        key = await vault.key_of(DayKey("default"))
        channel = await consuming.channel()
        await channel.set_qos(prefetch_count=IN_FLIGHT)
        queue = await channel.declare_queue(
            QUEUE, durable=True, arguments={"x-queue-type": "quorum"}
        )
        publisher = await publishing.channel()
        events = await publisher.declare_exchange("baseline.events", "topic", durable=True)
        await fill(servers.amqp_url, "", QUEUE, prefix, count)

        async def handle(message: AbstractIncomingMessage) -> None:
            clock.begin()
            command = InteractionRecorded.model_validate_json(message.body)
            mac = hmac.digest(b"k" * 32, message.body, hashlib.sha256)
            event_id = uuid4()
            async with pool.acquire() as connection, connection.transaction():
                new = await connection.fetchval(
                    INBOX, "default", ROUTING_KEY, message.message_id, mac
                )
                if new is None:
                    await message.ack()
                    return
                version = await connection.fetchval(
                    CHANGE, "default", command.user_id, command.interaction_id
                )
                event = orjson.dumps(
                    {
                        "event_id": str(event_id),
                        "occurred_at": datetime.now(UTC),
                        "org": "default",
                        "subject": command.user_id,
                        "version": version,
                        "user_id": command.user_id,
                    }
                )
                sealed = key.seal(event, f"message:{event_id}")
                await connection.execute(
                    OUTBOX, event_id, "default", "baseline.events", "noted.v1", sealed
                )
            await events.publish(
                aio_pika.Message(
                    event,
                    message_id=str(event_id),
                    correlation_id=message.correlation_id,
                    content_type="application/json",
                    delivery_mode=2,
                ),
                "noted.v1",
                mandatory=False,
            )
            await message.ack()
            clock.end()

        await queue.consume(handle)
        async with asyncio.timeout(300):
            await clock.done.wait()
    return clock.rate


async def _prepare(pool: asyncpg.Pool) -> None:
    await prepare(pool)
    if await pool.fetchval("SELECT to_regclass('bench.base_inbox') IS NULL"):
        await pool.execute(SCHEMA)


async def _keep(_connection: object) -> None:
    """No RESET between uses, as in ours."""
