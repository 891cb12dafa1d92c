"""Test what becomes of exchanges and queues that are gone, or are not as they should be."""

from __future__ import annotations

import asyncio
import io
import json
import uuid
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from aio_pika import ExchangeType
from pydantic import SecretStr

from services.operator.doctor.findings import Findings, FindingState
from services.operator.doctor.servers import check_broker
from services.operator.settings import BrokerSettings
from shared.contracts.commands import UserUpdated
from shared.messaging.broker.topology import queue_arguments
from shared.messaging.handling.routes import Route, Routes
from shared.messaging.handling.settlement import Done
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.messaging.service import messaging as messaging_module
from shared.messaging.service.messaging import Messaging
from shared.observability import logs
from tests.kit.servers import Management
from tests.shared.messaging.conftest import RECORD, Bench, Noted, named, note, quicker, until

COMMANDS_QUEUE = "billing-worker.intake.commands"


async def note_event(message: Noted, work: UnitOfWork) -> None:
    work.record(RECORD, f"event of {message.note}", f"event of {message.note}")


LISTENING = Routes(
    events={"noted.v1": Route(Noted, note_event)},
    webhooks={"crm.noted.v1": Route(Noted, note_event)},
)


@pytest.fixture
def logged() -> io.StringIO:
    stream = io.StringIO()
    logs.configure("billing-worker", stream=stream)
    return stream


@pytest.fixture
def limited(amqp_management: Management) -> Iterator[tuple[str, str]]:
    """Name and password of a user of the broker without any right, who is gone after the test.

    A test names it before `bench`, so that it outlives the service.
    """
    name, password = f"limited-{uuid.uuid4().hex}", uuid.uuid4().hex
    amqp_management.call("PUT", f"users/{name}", {"password": password, "tags": ""})
    yield name, password
    amqp_management.call("DELETE", f"users/{name}")


@pytest.fixture(autouse=True)
def _looks_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in order again is noticed at once, and the doctor does not wait for consumers."""
    monkeypatch.setattr("shared.messaging.intake.consumer._IDLE_S", 0.2)
    monkeypatch.setattr("services.operator.doctor.servers._BETWEEN_READS_S", 0.02)


async def test_a_deleted_exchange_comes_back_with_the_bindings_of_all(bench: Bench) -> None:
    messaging = await bench.start(policy=quicker(outbox_lease_s=0.5))
    await bench.start(service="crm-worker", routes=LISTENING)
    for exchange in ("zoho.events", "zoho.webhooks"):
        await (await bench.channel.get_exchange(exchange)).delete()

    async with messaging.committer.begin("default") as work:
        work.publish(Noted(user_id="u1", note="an event"))
    body = Noted(user_id="u1", note="a webhook").model_dump_json().encode()
    async with messaging.committer.begin("default") as work:
        work.send("zoho.webhooks", "crm.noted.v1", body, message_id="w1")

    await until(_noted(bench, {"event of an event", "event of a webhook"}))


async def test_bindings_that_somebody_took_away_come_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messaging_module, "_DECLARE_EVERY_S", 0.2)
    messaging = await bench.start()
    await bench.start(service="crm-worker", routes=LISTENING)
    exchange = await bench.channel.get_exchange("zoho.events")
    await exchange.delete()
    await bench.channel.declare_exchange("zoho.events", ExchangeType.TOPIC, durable=True)
    sent = 0

    async def is_heard() -> bool:
        nonlocal sent
        sent += 1
        async with messaging.committer.begin("default") as work:
            work.publish(Noted(user_id="u1", note=f"n{sent}"))
        return any(each.startswith("event of n") for each in await bench.handled())

    await until(is_heard)


async def test_a_queue_with_other_arguments_is_named_and_stops_no_other(
    bench: Bench, logged: io.StringIO
) -> None:
    await bench.channel.declare_queue(COMMANDS_QUEUE, durable=True)
    messaging = await _started(bench)

    async with messaging.committer.begin("default") as work:
        work.publish(Noted(user_id="u1", note="still heard"))

    await until(_noted(bench, {"event of still heard"}))
    [refused] = [line for line in _lines(logged) if line["event"] == _REFUSED]
    assert refused["declared"] == COMMANDS_QUEUE
    assert "inequivalent arg 'x-" in refused["reason"]
    assert COMMANDS_QUEUE in refused["reason"]
    await until(_not(messaging.ready))
    [finding] = await _wrong(bench.parts.amqp_url, COMMANDS_QUEUE)
    assert "inequivalent arg 'x-" in finding

    queue = await bench.channel.get_queue(COMMANDS_QUEUE)
    await queue.delete(if_unused=False, if_empty=False)
    await until(messaging.ready)
    await bench.send(named("Ada"))
    while await bench.next_settlement() != Done():
        pass
    assert await _wrong(bench.parts.amqp_url, COMMANDS_QUEUE) == []


@pytest.mark.parametrize("right", ["configure", "write", "read"])
async def test_a_missing_permission_is_named_and_stops_no_other_queue(
    limited: tuple[str, str],
    bench: Bench,
    logged: io.StringIO,
    amqp_management: Management,
    right: str,
) -> None:
    poison = "billing-worker.poison"
    for name in (poison, COMMANDS_QUEUE):
        await bench.channel.declare_queue(
            name, durable=True, arguments=queue_arguments(name, poison)
        )
    await _act_as(limited, bench, amqp_management, right)
    messaging = await _started(bench)

    async with messaging.committer.begin("default") as work:
        work.publish(Noted(user_id="u1", note="still heard"))

    await until(_noted(bench, {"event of still heard"}))
    reasons = [str(line.get("reason")) for line in _lines(logged)]
    named_ones = [reason for reason in reasons if COMMANDS_QUEUE in reason and "refused" in reason]
    assert named_ones
    assert any(right in reason.partition("(permission: ")[2] for reason in named_ones)
    if right == "configure":  # the others are asked for by bindings and consumers only
        [finding] = await _wrong(bench.parts.amqp_url, COMMANDS_QUEUE)
        assert right in finding.partition("(permission: ")[2]
    await until(_not(messaging.ready))


_REFUSED = "the broker refuses a declaration"


async def _started(bench: Bench) -> Messaging:
    """A service that takes commands and events."""
    routes = Routes(
        commands={"user.updated.v1": Route(UserUpdated, note)},
        events={"noted.v1": Route(Noted, note_event)},
    )
    return await bench.start(routes=routes, policy=quicker(stands_s=1.0, outbox_lease_s=0.5))


async def _act_as(user: tuple[str, str], bench: Bench, management: Management, right: str) -> None:
    """Let the service be this user, who lacks this right on one queue."""
    name, password = user
    url = urlsplit(bench.parts.amqp_url.get_secret_value())
    rights = {"configure": ".*", "write": ".*", "read": ".*"}
    rights[right] = f"^(?!{COMMANDS_QUEUE}$).*"
    permissions = f"permissions/{url.path[1:]}/{name}"
    await asyncio.to_thread(management.call, "PUT", permissions, rights)
    netloc = f"{name}:{password}@{url.hostname}:{url.port}"
    bench.parts.amqp_url = SecretStr(url._replace(netloc=netloc).geturl())


async def _wrong(url: SecretStr, queue: str) -> list[str]:
    """What the doctor finds wrong with the queue itself."""
    findings = Findings()
    await check_broker(findings, BrokerSettings(amqp_url=url))
    return [
        finding.found
        for finding in findings.all
        if (finding.check, finding.state) == (queue, FindingState.WRONG)
    ]


def _lines(logged: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in logged.getvalue().splitlines()]


def _noted(bench: Bench, notes: set[str]) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return notes <= set(await bench.handled())

    return check


def _not(check: Callable[[], Awaitable[bool]]) -> Callable[[], Awaitable[bool]]:
    async def negated() -> bool:
        return not await check()

    return negated
