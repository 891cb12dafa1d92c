"""Provide the servers that tests run on: RabbitMQ and PostgreSQL, private to this checkout.

A stack that already runs under `.run/test/` is used again. Otherwise one is started for the session
and stopped after it. `RELAY_DEV_POSTGRES`, `RELAY_DEV_RABBITMQ` and `RELAY_DEV_RABBITMQ_API` name
other servers and take precedence.
"""

import asyncio
import json
import os
import socket
import uuid
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import asyncpg
import pytest
from pydantic import SecretStr

from shared.storage.migrations import migrate
from shared.storage.pool import connect

ROOT = Path(__file__).resolve().parents[2]
TEST_STACK = ROOT / ".run" / "test"
SERVICES = ROOT / "services"


class Management(NamedTuple):
    """RabbitMQ's management HTTP API, without a trailing slash, and an administrator of it."""

    url: str
    user: str
    password: str

    def call(self, method: str, path: str, body: object = None) -> object:
        """Ask `/api/<path>`. The answer's JSON, or None when there is none. Raises HTTPError."""
        token = b64encode(f"{self.user}:{self.password}".encode()).decode()
        request = Request(  # noqa: S310  (loopback, our own server)
            f"{self.url}/api/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Basic {token}", "Content-Type": "application/json"},
        )
        with urlopen(request, timeout=30) as answer:  # noqa: S310
            content = answer.read()
        return json.loads(content) if content else None


class Servers(NamedTuple):
    postgres_url: str
    amqp_url: str
    management: Management


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Return the addresses of PostgreSQL and RabbitMQ, for the whole session."""
    found = _named_servers() or _running_servers()
    if found is not None:
        yield found
        return
    from deploy.local.stack import Stack  # the stack is only needed when nothing runs yet

    stack = Stack(TEST_STACK, services={}, sandbox=False, durable=False)
    stack.start()
    try:
        yield _servers_of(stack.env)
    finally:
        stack.stop()


@pytest.fixture(scope="session")
def postgres_url(servers: Servers) -> str:
    """A superuser's URL of the server. Tests use `database_url`."""
    return servers.postgres_url


@pytest.fixture(scope="session")
def amqp_management(servers: Servers) -> Management:
    """RabbitMQ's management API: `(url, user, password)`, and `call(method, path, body)`."""
    return servers.management


@pytest.fixture(scope="session")
def template(postgres_url: str) -> Iterator[str]:
    """The name of a database with every schema in it, to be copied: migrating takes ten times as
    long."""
    name = f"template_{uuid.uuid4().hex}"
    asyncio.run(_migrated(postgres_url, name))
    yield name
    asyncio.run(_execute(postgres_url, f'DROP DATABASE "{name}" WITH (FORCE)'))


@pytest.fixture
async def database_url(postgres_url: str, template: str) -> AsyncIterator[str]:
    """A database of the test's own, migrated, without a row in it. Gone after the test."""
    async with new_database(postgres_url, template) as url:
        yield url


@pytest.fixture
async def empty_database_url(postgres_url: str) -> AsyncIterator[str]:
    """A database of the test's own, without a table in it. Gone after the test."""
    async with new_database(postgres_url) as url:
        yield url


@pytest.fixture
def amqp_url(servers: Servers) -> Iterator[str]:
    """A virtual host of the test's own, empty, gone after it."""
    name = f"test_{uuid.uuid4().hex}"
    management = servers.management
    management.call("PUT", f"vhosts/{name}", {})
    user = urlsplit(servers.amqp_url).username
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    management.call("PUT", f"permissions/{name}/{user}", everything)
    yield urlsplit(servers.amqp_url)._replace(path=f"/{name}").geturl()
    try:
        management.call("DELETE", f"vhosts/{name}")
    except HTTPError as error:
        if error.code != 404:  # a test may have deleted it to see what happens then
            raise


@asynccontextmanager
async def new_database(postgres_url: str, template: str = "template1") -> AsyncIterator[str]:
    """A copy of that database, gone at the end. Its URL."""
    name = f"test_{uuid.uuid4().hex}"
    server = await asyncpg.connect(postgres_url)
    try:
        # Through the log of the server, which is PostgreSQL's way since 15, it takes three times
        # as long.
        strategy = "STRATEGY file_copy" if server.get_server_version().major >= 15 else ""
        await server.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" {strategy}')
    finally:
        await server.close()
    yield _at(postgres_url, name)
    await _execute(postgres_url, f'DROP DATABASE "{name}" WITH (FORCE)')


async def _migrated(postgres_url: str, name: str) -> None:
    await _execute(postgres_url, f'CREATE DATABASE "{name}"')
    url = SecretStr(_at(postgres_url, name))
    async with connect(url, size=1) as pool:
        for folder in sorted(SERVICES.glob("*/migrations")):
            # Each service's schema has its name without the kind: billing_worker, billing.
            schema = folder.parent.name.replace("webhook_", "").split("_")[0]
            await migrate(pool, schema=schema, folder=folder)


def _at(postgres_url: str, database: str) -> str:
    return urlsplit(postgres_url)._replace(path=f"/{database}").geturl()


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _named_servers() -> Servers | None:
    names = ("RELAY_DEV_POSTGRES", "RELAY_DEV_RABBITMQ", "RELAY_DEV_RABBITMQ_API")
    if not all(os.environ.get(name) for name in names):
        return None
    return _servers(*(os.environ[name] for name in names))


def _running_servers() -> Servers | None:
    try:
        lines = (TEST_STACK / "stack.env").read_text().splitlines()
    except FileNotFoundError:
        return None
    found = _servers_of(dict(line.split("=", 1) for line in lines if "=" in line))
    return found if all(map(_answers, found[:2])) else None


def _servers_of(env: dict[str, str]) -> Servers:
    return _servers(env["POSTGRES_URL"], env["AMQP_URL"], env["RABBITMQ_API_URL"])


def _servers(postgres_url: str, amqp_url: str, api_url: str) -> Servers:
    api = urlsplit(api_url)
    management = Management(
        url=api._replace(netloc=f"{api.hostname}:{api.port}").geturl().rstrip("/"),
        user=api.username or "",
        password=api.password or "",
    )
    return Servers(postgres_url, amqp_url, management)


def _answers(url: str) -> bool:
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname, parts.port), timeout=2).close()
    except OSError:
        return False
    return True
