from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import aiohttp
import asyncpg
import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from pydantic import SecretStr

from services.webhook_gateway.app import MIGRATIONS, application
from services.webhook_gateway.connections import ConnectionBounds, Connections
from services.webhook_gateway.endpoint import WebhookEndpoint
from services.webhook_gateway.ingest import WebhookIngest
from services.webhook_gateway.load_monitor import LoadMonitor
from services.webhook_gateway.repositories.webhooks import SCHEMA, Webhooks
from services.webhook_gateway.requests.webhook_request import WebhookSource
from services.webhook_gateway.signatures.crm import CrmSecrets
from services.webhook_gateway.signatures.desk import DeskSignatures
from services.webhook_gateway.signatures.desk_keys import DeskKeys
from services.webhook_gateway.sources.crm.source import CrmSource
from services.webhook_gateway.sources.desk.source import DeskSource
from services.webhook_gateway.sources.finance.source import FinanceSource
from shared.contracts.webhooks import WebhookReceived
from shared.crypto.blind_index import BlindIndex
from shared.crypto.envelope import DataKeys, Vault
from shared.crypto.keyring import KeyRing
from shared.messaging.messages.outgoing_message import sealing_context
from shared.messaging.outbox.outbox import Outbox, OutboxRow
from shared.observability.metrics import Metrics
from shared.storage import pool as storage
from shared.storage.migrations import migrate
from tests.kit.fresh_keys import fresh_key

SECRET = "ZohoTestSecret123"
OLD_SECRET = "ZohoOldSecret4567"
CHANNEL_TOKEN = "channel-token-of-ours"
WORKFLOW_SECRET = "workflow-secret-of-ours"
DESK_ORG, DESK_WEBHOOK = "62983471", "510001"


class NothingPublished:
    """No broker: what is committed stays in the outbox."""

    keeps_up = False

    def send_soon(self, rows: Sequence[OutboxRow]) -> None:
        raise AssertionError("nothing is to be sent")


class DeskSide:
    """Zoho Desk: signs with its newest key, and publishes them all."""

    def __init__(self) -> None:
        self.asked = 0
        self.keys: dict[str, rsa.RSAPrivateKey] = {}
        self.new_key("k1")

    def new_key(self, kid: str) -> None:
        self.keys[kid] = _private_key(kid)

    def token(self, *, kid: str = "", key: rsa.RSAPrivateKey | None = None, **claims: Any) -> str:
        kid = kid or list(self.keys)[-1]
        now = int(time.time())
        body = {
            "iss": f"orgId:{DESK_ORG}",
            "aud": f"webhookId:{DESK_WEBHOOK}",
            "iat": now,
            "exp": now + 60,
        } | claims
        return jwt.encode(body, key or self.keys[kid], algorithm="RS256", headers={"kid": kid})

    def key_set(self) -> dict[str, Any]:
        return {
            "keys": [
                {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "alg": "RS256"}
                for kid, key in self.keys.items()
            ]
        }

    async def publish(self, _: web.Request) -> web.Response:
        self.asked += 1
        return web.json_response(self.key_set())


@dataclass
class Gateway:
    client: TestClient[Any, Any]
    pool: asyncpg.Pool
    vault: Vault
    metrics: Metrics
    desk: DeskSide

    async def post(
        self, path: str, body: bytes | str = b"", headers: Mapping[str, str] | None = None
    ) -> int:
        """Post to `/webhooks/<path>`, and return the status."""
        async with self.client.post(f"/webhooks/{path}", data=body, headers=headers) as answer:
            await answer.read()
            return answer.status

    async def post_signed(
        self, path: str, body: bytes | str | dict[str, Any], *, secret: str = SECRET
    ) -> int:
        """Post JSON to Billing or Books, signed by Zoho's rule. The path has no query."""
        raw = json.dumps(body).encode() if isinstance(body, dict) else body
        raw = raw.encode() if isinstance(raw, str) else raw
        return await self.post(path, raw, signed(raw, secret))

    async def post_desk(self, *events: dict[str, Any], **claims: Any) -> int:
        headers = {"X-ZDesk-JWT": self.desk.token(**claims), "Content-Type": "application/json"}
        return await self.post("desk", json.dumps(events), headers)

    async def passed_on(self) -> list[WebhookReceived]:
        """What the workers get, in order."""
        rows = await self.pool.fetch("SELECT * FROM gateway.outbox ORDER BY seq")
        opened = [
            await self.vault.open(row["body"], sealing_context(row["message_id"])) for row in rows
        ]
        return [WebhookReceived.model_validate_json(body) for body in opened]

    async def stored_payloads(self) -> list[dict[str, Any]]:
        """What is kept of the webhooks themselves."""
        rows = await self.pool.fetch("SELECT id, body FROM gateway.webhooks ORDER BY received_at")
        opened = [
            await self.vault.open(row["body"], sealing_context(str(row["id"]))) for row in rows
        ]
        return [WebhookReceived.model_validate_json(body).payload for body in opened]

    def count(self, product: str, outcome: str, org: str = "default") -> float:
        return (
            self.metrics.registry.get_sample_value(
                "webhooks_received_total", {"product": product, "outcome": outcome, "org": org}
            )
            or 0.0
        )


def signed(text: bytes, secret: str = SECRET) -> dict[str, str]:
    digest = hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()
    return {"X-Zoho-Webhook-Signature": digest, "Content-Type": "application/json"}


@cache
def _private_key(_: str) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)  # takes its time


@pytest.fixture(scope="session")
def migrated_url(postgres_url: str) -> Iterator[str]:
    """A migrated database. Making one costs more than most tests do: they share it."""
    name = f"gateway_{uuid4().hex}"
    url = urlsplit(postgres_url)._replace(path=f"/{name}").geturl()

    async def make() -> None:
        await _run(postgres_url, f'CREATE DATABASE "{name}"')
        async with storage.connect(SecretStr(url), size=1) as pool:
            await migrate(pool, schema=SCHEMA, folder=MIGRATIONS)

    asyncio.run(make())
    yield url
    asyncio.run(_run(postgres_url, f'DROP DATABASE "{name}" WITH (FORCE)'))


async def _run(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture
async def pool(migrated_url: str) -> AsyncIterator[asyncpg.Pool]:
    """The shared database, empty. Tests that do more to it than fill it have one of their own."""
    async with storage.connect(SecretStr(migrated_url), size=4) as pool:
        await pool.execute(
            "TRUNCATE gateway.webhooks, gateway.outbox, relay.open_webhooks, relay.data_keys"
        )
        yield pool


@pytest.fixture
async def own_pool(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    async with storage.connect(SecretStr(database_url), size=4) as pool:
        await migrate(pool, schema=SCHEMA, folder=MIGRATIONS)
        yield pool


@pytest.fixture
def index_keys() -> str:
    return fresh_key("i1")


@pytest.fixture
async def gateway(pool: asyncpg.Pool, index_keys: str) -> AsyncIterator[Gateway]:
    async with running(pool, index_keys) as gateway:
        yield gateway


@pytest.fixture
async def own_gateway(own_pool: asyncpg.Pool, index_keys: str) -> AsyncIterator[Gateway]:
    async with running(own_pool, index_keys) as gateway:
        yield gateway


class running:  # noqa: N801  (reads as a verb: `async with running(pool, keys) as gateway`)
    """A gateway on a database that may have another one already."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        index_keys: str,
        encryption_keys: str | None = None,
        *,
        stored_within_s: float = 30.0,
    ) -> None:
        vault = Vault(DataKeys(pool, KeyRing.parse(encryption_keys or ENCRYPTION_KEYS)))
        index = BlindIndex(KeyRing.parse(index_keys), "gateway.webhooks")
        webhooks = Webhooks(pool, Outbox(pool, SCHEMA, vault, lease_s=30))
        self._ingest = WebhookIngest(
            webhooks,
            vault,
            index,
            NothingPublished(),
            LoadMonitor(),
            stored_within_s=stored_within_s,
        )
        self._vault, self._pool = vault, pool

    async def __aenter__(self) -> Gateway:
        self._session = aiohttp.ClientSession()
        desk = DeskSide()
        published = web.Application()
        published.add_routes([web.get("/.well-known/jwks.json", desk.publish)])
        self._desk = TestServer(published)
        await self._desk.start_server()
        keys = DeskKeys(
            self._session, str(self._desk.make_url("/.well-known/jwks.json")), pause_s=0
        )
        secrets = [SECRET.encode(), OLD_SECRET.encode()]
        metrics = Metrics("webhook-gateway")
        sources: list[WebhookSource] = [
            FinanceSource("billing", secrets),
            FinanceSource("books", secrets),
            CrmSource(
                CrmSecrets(
                    channel_tokens=[CHANNEL_TOKEN.encode()],
                    workflow_secrets=[WORKFLOW_SECRET.encode()],
                )
            ),
            DeskSource(DeskSignatures(keys, org_id=DESK_ORG, webhook_ids=[DESK_WEBHOOK])),
        ]
        endpoints = [
            WebhookEndpoint(source, self._ingest, metrics, orgs={"default"}) for source in sources
        ]
        connections = Connections(ConnectionBounds(), lambda _reason: None)
        self._client = TestClient(TestServer(application(endpoints, connections)))
        await self._client.start_server()
        return Gateway(self._client, self._pool, self._vault, metrics, desk)

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()
        await self._ingest.idle()
        await self._desk.close()
        await self._session.close()


ENCRYPTION_KEYS = fresh_key("k1")
