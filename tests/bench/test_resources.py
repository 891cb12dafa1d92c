"""Measure what the five services cost when idle, and while thousands of messages wait."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from pathlib import Path
from typing import Final

import aio_pika
import asyncpg
import orjson
import pytest

from deploy.local.plan import SERVICES
from deploy.local.stack import Stack
from shared.contracts.parsing import MAX_BODY_BYTES
from shared.messaging.broker.topology import PREFETCH
from shared.messaging.dispatch.attempt import LARGE_AT_ONCE
from tests.bench.figures import Figure, Figures
from tests.kit.people import sign_up_of

TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")
SECONDS: Final = 20.0
WAITING: Final = int(os.environ.get("BENCH_WAITING", "20000"))
LARGE: Final = 400
LARGE_MB: Final = MAX_BODY_BYTES / 1024 / 1024
# One is being stored and two are worked on, each as sealed, as open, and on its way.
IN_WORK_MB: Final = (1 + LARGE_AT_ONCE) * 3 * LARGE_MB
BACKLOG: Final = int(os.environ.get("BENCH_BACKLOG", "100000"))

pytestmark = pytest.mark.bench


async def test_idle_services_cost_next_to_nothing(stack: Stack, figures: Figures) -> None:
    await asyncio.sleep(10)  # what a start does is over
    figures.add(Figure("idle, five services", await _share(stack), "%", at_most=3))


async def test_sign_ups_that_wait_for_quota_cost_little(stack: Stack, figures: Figures) -> None:
    await _publish(stack, "user.signed_up.v1", WAITING)
    await _until_open(stack, "billing", WAITING * 8 // 10)
    await _until(stack, "SELECT count(*) FROM crm.contacts", WAITING)
    # CRM's part is done first: it has contacts written, 20 to 30 a second, and reads each again.
    behind = "SELECT -count(*) FROM crm.contacts WHERE sent_version < wanted_version"
    await _until(stack, behind, 0, within_s=2400)
    await asyncio.sleep(10)
    figures.add(Figure("waiting for quota, five services", await _share(stack), "%", at_most=10))


async def test_messages_of_unknown_users_cost_little(stack: Stack, figures: Figures) -> None:
    await _publish(stack, "interaction.recorded.v1", WAITING)
    await _until_waiting_for_facts(stack, "crm", WAITING)
    await asyncio.sleep(5)
    figures.add(Figure("waiting for users, five services", await _share(stack), "%", at_most=10))


async def test_a_backlog_is_held_by_the_database(stack: Stack, figures: Figures) -> None:
    await _publish(stack, "interaction.recorded.v1", BACKLOG)
    await _until_open(stack, "crm", BACKLOG)
    memory_mb = _memory_mb(stack, "crm-worker")
    figures.add(Figure(f"memory with {BACKLOG:,} open messages", memory_mb, "MB", at_most=100))


async def test_large_bodies_are_held_within_what_prefetch_allows(
    stack: Stack, figures: Figures
) -> None:
    """Beyond what the process has after small ones: what is unacknowledged, and in work."""
    await _publish(stack, "interaction.recorded.v1", LARGE)
    await _until_waiting_for_facts(stack, "crm", LARGE)
    before_mb = _memory_mb(stack, "crm-worker")
    await _publish_large(stack, LARGE)
    await _until_waiting_for_facts(stack, "crm", 2 * LARGE)
    held_mb = PREFETCH * LARGE_MB
    beyond_mb = _memory_mb(stack, "crm-worker") - before_mb - held_mb
    figures.add(
        Figure(
            f"memory with {LARGE} of 2 MiB, beyond prefetch", beyond_mb, "MB", at_most=IN_WORK_MB
        )
    )


def _process_ids(stack: Stack) -> list[int]:
    ids = [stack.pid(service) for service in SERVICES]
    return [found for found in ids if found is not None]


def _used_s(process_id: int) -> float:
    """Seconds of processor time that the process has used."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


async def _share(stack: Stack) -> float:
    """Per cent of one core that the five services use together."""
    began = time.monotonic()
    before = {process_id: _used_s(process_id) for process_id in _process_ids(stack)}
    await asyncio.sleep(SECONDS)
    used = sum(_used_s(process_id) - before[process_id] for process_id in before)
    assert len(before) == len(SERVICES)
    return 100 * used / (time.monotonic() - began)


def _memory_mb(stack: Stack, service: str) -> float:
    """The most that the process ever had resident."""
    status = Path(f"/proc/{stack.pid(service)}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


async def _publish(stack: Stack, routing_key: str, count: int) -> None:
    """Publish as many commands, each of a user of its own, of about 1 KiB where there is room."""
    async with await aio_pika.connect(stack.env["AMQP_URL"]) as connection:
        channel = await connection.channel()
        commands = await channel.get_exchange("zoho.commands")

        async def publish(number: int) -> None:
            user_id = f"waiting-{number}"
            body = (
                sign_up_of(user_id)
                if routing_key.startswith("user.")
                else {
                    "user_id": user_id,
                    "interaction_id": f"interaction-{number}",
                    "title": "A question about an invoice",
                    "content": "What the user said, and what was answered. " * 22,
                }
            )
            message = aio_pika.Message(
                orjson.dumps(body),
                message_id=str(uuid.uuid4()),
                content_type="application/json",
                delivery_mode=2,
            )
            await commands.publish(message, routing_key)

        for start in range(0, count, 500):
            await asyncio.gather(*map(publish, range(start, min(start + 500, count))))


async def _publish_large(stack: Stack, count: int) -> None:
    """Publish commands of users who never sign up, as large as the contract lets them be."""
    async with await aio_pika.connect(stack.env["AMQP_URL"]) as connection:
        channel = await connection.channel()
        commands = await channel.get_exchange("zoho.commands")
        for number in range(count):
            body = {
                "user_id": f"waiting-{number}",
                "interaction_id": f"interaction-{number}",
                "title": "A question about an invoice",
                "content": "What the user said, and what was answered.",
            }
            message = aio_pika.Message(
                orjson.dumps(body).ljust(MAX_BODY_BYTES),
                message_id=str(uuid.uuid4()),
                content_type="application/json",
                delivery_mode=2,
            )
            await commands.publish(message, "interaction.recorded.v1")


async def _until_open(stack: Stack, schema: str, count: int) -> None:
    await _until(stack, f"SELECT count(*) FROM {schema}.inbox", count)  # noqa: S608


async def _until_waiting_for_facts(stack: Stack, schema: str, count: int) -> None:
    await _until(stack, f"SELECT count(*) FROM {schema}.inbox WHERE state = 'fact'", count)  # noqa: S608


async def _until(stack: Stack, counting: str, count: int, *, within_s: float = 600) -> None:
    connection = await asyncpg.connect(stack.env["DATABASE_URL"])
    try:
        async with asyncio.timeout(within_s):
            while await connection.fetchval(counting) < count:  # noqa: ASYNC110 - nothing reports it
                await asyncio.sleep(0.5)
    finally:
        await connection.close()
