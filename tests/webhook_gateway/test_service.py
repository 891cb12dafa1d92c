"""The gateway as a whole, with a real broker."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import aio_pika
import aiohttp
import asyncpg
import pytest
from aio_pika.abc import AbstractIncomingMessage
from pydantic import SecretStr

from deploy.local.ports import free_port
from services.webhook_gateway.app import build
from services.webhook_gateway.settings import Settings
from shared.contracts.webhooks import WebhookReceived
from shared.crypto.envelope import DataKeys, Vault
from shared.crypto.keyring import KeyRing
from shared.environment import SettingsError
from shared.messaging.messages.outgoing_message import sealing_context
from shared.observability import logs
from shared.storage import pool as storage
from tests.kit.fresh_keys import fresh_key
from tests.kit.proxy import proxy_to
from tests.kit.servers import Management
from tests.webhook_gateway.conftest import SECRET, signed

Inbox = asyncio.Queue[AbstractIncomingMessage]
KEYS: dict[str, Any] = {"encryption_keys": fresh_key("k1"), "index_keys": fresh_key("i1")}


@pytest.fixture
def settings(database_url: str, amqp_url: str) -> Settings:
    return Settings(
        database_url=database_url,
        amqp_url=amqp_url,
        http_host="127.0.0.1",
        http_port=0,
        metrics_port=0,
        zoho_webhook_secret=SECRET,
        **KEYS,
    )


@asynccontextmanager
async def gateway(settings: Settings) -> AsyncIterator[aiohttp.ClientSession]:
    async with AsyncExitStack() as stack:
        port = await build(stack, settings)
        client = aiohttp.ClientSession(f"http://127.0.0.1:{port}")
        # Closed before the gateway is, as Zoho's connections would not be.
        async with client:
            yield client


@asynccontextmanager
async def worker_queue(amqp_url: str) -> AsyncIterator[Inbox]:
    """What a worker has: a queue bound to all events of Billing."""
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(
            "zoho.webhooks", aio_pika.ExchangeType.TOPIC, durable=True
        )
        queue = await channel.declare_queue("billing-worker.intake.webhooks", durable=True)
        await queue.bind(exchange, "billing.#")
        inbox: Inbox = asyncio.Queue()
        await queue.consume(inbox.put, no_ack=True)
        yield inbox


async def post(client: aiohttp.ClientSession, event_id: str) -> int:
    body = json.dumps({"event_id": event_id, "event_type": "card_expired"}).encode()
    async with client.post("/webhooks/billing", data=body, headers=signed(body)) as answer:
        return answer.status


async def opened(message: AbstractIncomingMessage, database_url: str) -> WebhookReceived:
    async with storage.connect(SecretStr(database_url), size=1) as pool:
        vault = Vault(DataKeys(pool, KeyRing.parse(KEYS["encryption_keys"])))
        return WebhookReceived.model_validate_json(
            await vault.open(message.body, sealing_context(message.message_id or ""))
        )


async def test_a_webhook_reaches_the_worker_sealed(settings: Settings) -> None:
    async with (
        worker_queue(settings.amqp_url.get_secret_value()) as queue,
        gateway(settings) as client,
    ):
        assert await post(client, "1111111111111111111") == 200

        message = await queue.get()

    assert message.exchange == "zoho.webhooks"
    assert message.routing_key == "billing.card_expired.v1"
    assert message.headers["x-sealed"] == 1
    assert message.headers["org"] == "default"
    assert message.content_type == "application/json"
    assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    assert message.timestamp is not None
    assert b"1111111111111111111" not in message.body
    received = await opened(message, settings.database_url.get_secret_value())
    assert received.webhook_id == message.message_id
    assert received.event_id == "1111111111111111111"


async def test_a_burst_is_answered_whole_and_handed_over_whole(settings: Settings) -> None:
    async with (
        worker_queue(settings.amqp_url.get_secret_value()) as queue,
        gateway(settings) as client,
    ):
        statuses = await asyncio.gather(*[post(client, str(n)) for n in range(400)])
        assert set(statuses) == {200}

        ids = {(await queue.get()).message_id for _ in range(400)}

    assert len(ids) == 400


async def test_without_a_broker_webhooks_are_accepted_and_handed_over_later(
    settings: Settings, amqp_management: Management
) -> None:
    vhost = urlsplit(settings.amqp_url.get_secret_value()).path.lstrip("/")
    user = amqp_management.user
    amqp_management.call("DELETE", f"vhosts/{vhost}")

    async with gateway(settings) as client:
        for n in range(20):
            assert await post(client, str(n)) == 200

        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        amqp_management.call("PUT", f"vhosts/{vhost}", {})
        amqp_management.call("PUT", f"permissions/{vhost}/{user}", everything)
        async with worker_queue(settings.amqp_url.get_secret_value()) as queue:
            ids = {(await queue.get()).message_id for _ in range(20)}

    assert len(ids) == 20


async def test_what_a_stopped_gateway_left_the_next_one_hands_over(
    settings: Settings, amqp_management: Management
) -> None:
    url = settings.amqp_url.get_secret_value()
    elsewhere = urlsplit(url)._replace(path="/there-is-no-such-vhost").geturl()
    async with gateway(settings.model_copy(update={"amqp_url": SecretStr(elsewhere)})) as client:
        assert await post(client, "1") == 200

    async with worker_queue(url) as queue, gateway(settings):
        message = await queue.get()

    received = await opened(message, settings.database_url.get_secret_value())
    assert received.event_id == "1"


async def test_an_event_that_nobody_documents_does_not_wait_for_a_queue(settings: Settings) -> None:
    body = json.dumps({"event_id": "1", "event_type": "moon_rise"}).encode()
    async with gateway(settings) as client:
        async with client.post("/webhooks/books", data=body, headers=signed(body)) as answer:
            assert answer.status == 200

        connection = await asyncpg.connect(settings.database_url.get_secret_value())
        pending = "SELECT count(*) FROM gateway.outbox WHERE published_at IS NULL"
        while await connection.fetchval(pending):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await connection.close()


async def test_the_gateway_reports_metrics_and_log_lines(settings: Settings) -> None:
    logged = io.StringIO()
    logs.configure("webhook-gateway", stream=logged)
    free = settings.model_copy(update={"metrics_port": free_port()})
    async with gateway(free) as client:
        assert await post(client, "2222222222222222222") == 200
        body = b'{"event_id": "3333333333333333333", "email": "ann@example.com"}'
        async with client.post("/webhooks/billing?org=x", data=body) as answer:
            assert answer.status == 404
        async with client.get(f"http://127.0.0.1:{free.metrics_port}/readyz") as answer:
            assert answer.status == 200
        async with client.get(f"http://127.0.0.1:{free.metrics_port}/metrics") as answer:
            metrics = await answer.text()

    assert (
        'webhooks_received_total{org="default",outcome="accepted",product="billing"} 1.0' in metrics
    )
    assert "webhook_accept_seconds_bucket" in metrics
    assert "outbox_pending" in metrics
    lines = [json.loads(line) for line in logged.getvalue().splitlines()]
    reported = [line for line in lines if line["event"] == "webhook received"]
    assert [(line["product"], line["outcome"], line["status"]) for line in reported] == [
        ("billing", "accepted", 200),
        ("billing", "unknown_organization", 404),
    ]
    assert reported[0]["correlation_id"]
    assert "2222222222222222222" not in str(lines)
    assert "ann@example.com" not in str(lines)


def test_a_start_without_a_secret_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOHO_RELAY_ENV_FILE", "")
    monkeypatch.setenv("ENCRYPTION_KEYS", "k1:not-base64")
    monkeypatch.setenv("ZOHO_WEBHOOK_SECRET", " , ")

    with pytest.raises(SettingsError) as caught:
        Settings.load()

    named = {problem.split(":")[0] for problem in caught.value.problems}
    assert {"ZOHO_WEBHOOK_SECRET", "DATABASE_URL", "AMQP_URL", "ENCRYPTION_KEYS"} <= named
    assert "not-base64" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({}, "https://desk.zoho.com/.well-known/jwks.json"),
        ({"zoho_data_center": "ca"}, "https://desk.zohocloud.ca/.well-known/jwks.json"),
        (
            {"zoho_desk_url": "http://127.0.0.1:9/desk/api/v1"},
            "http://127.0.0.1:9/.well-known/jwks.json",
        ),
        ({"zoho_desk_jwks_url": "http://127.0.0.1:9/keys"}, "http://127.0.0.1:9/keys"),
    ],
)
def test_desks_keys_are_looked_for_on_desks_host(given: dict[str, Any], url: str) -> None:
    settings = Settings(
        database_url="postgresql://x/x",
        amqp_url="amqp://x/",
        zoho_webhook_secret=SECRET,
        **KEYS,
        **given,
    )

    assert settings.desk_keys_url == url


@pytest.mark.parametrize(("expected", "statuses"), [("100-continue", [100, 200]), ("\xff", [417])])
async def test_an_expectation_is_met_or_refused(settings, expected, statuses) -> None:
    async with AsyncExitStack() as stack:
        port = await build(stack, settings)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        stack.callback(writer.close)
        body = b'{"event_id": "1", "event_type": "card_expired"}'
        signature = signed(body)["X-Zoho-Webhook-Signature"]
        head = (
            f"POST /webhooks/billing HTTP/1.1\r\nHost: x\r\nExpect: {expected}\r\n"
            f"X-Zoho-Webhook-Signature: {signature}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode("latin-1"))
        found = []
        while not found or found[-1] == 100:
            answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
            found.append(int(answer.split()[1]))
            if found[-1] == 100:
                writer.write(body)

    assert found == statuses


async def test_a_silent_database_is_answered_503_before_zoho_gives_up(settings: Settings) -> None:
    async with proxy_to(settings.database_url.get_secret_value()) as proxy:
        silent = settings.model_copy(update={"database_url": SecretStr(proxy.url())})
        async with gateway(silent) as client:
            assert await post(client, "1") == 200
            proxy.freeze()

            # Without a bound of ours the driver waits for half a minute.
            async with asyncio.timeout(12):
                assert await post(client, "2") == 503

            proxy.thaw()
            await until(200, lambda: post(client, "3"))


async def test_a_database_that_was_read_only_for_a_while_needs_no_restart(
    settings: Settings, postgres_url: str
) -> None:
    name = urlsplit(settings.database_url.get_secret_value()).path[1:]
    change = f"ALTER DATABASE {name} SET default_transaction_read_only"
    admin = await asyncpg.connect(postgres_url)
    metrics_port = free_port()
    ready = f"http://127.0.0.1:{metrics_port}/readyz"
    watched = settings.model_copy(update={"metrics_port": metrics_port})
    async with gateway(watched) as client:
        await admin.execute(f"{change} = on")
        await admin.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
        )
        await until(503, lambda: status(client, ready))
        assert await post(client, "1") == 503

        await admin.execute(f"{change} = off")

        await until(200, lambda: post(client, "1"))
        await until(200, lambda: status(client, ready))
    await admin.close()


async def status(client: aiohttp.ClientSession, url: str) -> int:
    async with client.get(url) as answer:
        return answer.status


async def until(wanted: int, ask: Callable[[], Awaitable[int]]) -> None:
    async with asyncio.timeout(30):
        while True:
            if await ask() == wanted:
                return
            await asyncio.sleep(0.1)
