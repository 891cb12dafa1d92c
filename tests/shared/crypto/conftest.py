import asyncio
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest
from pydantic import SecretStr

from shared.storage import pool as storage
from shared.storage.migrations import migrate


@pytest.fixture(scope="session")
def migrated_url(postgres_url: str) -> Iterator[str]:
    """A migrated database. Making one costs more than most tests do: they share it."""
    name = f"crypto_{uuid4().hex}"
    url = urlsplit(postgres_url)._replace(path=f"/{name}").geturl()

    async def make() -> None:
        await _run(postgres_url, f'CREATE DATABASE "{name}"')
        async with storage.connect(SecretStr(url), size=1) as pool:
            await migrate(pool, schema="billing")

    asyncio.run(make())
    yield url
    asyncio.run(_run(postgres_url, f'DROP DATABASE "{name}" WITH (FORCE)'))


@pytest.fixture
async def pool(migrated_url: str) -> AsyncIterator[asyncpg.Pool]:
    async with storage.connect(SecretStr(migrated_url), size=10) as pool:
        await pool.execute("TRUNCATE relay.data_keys")
        yield pool


async def _run(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
