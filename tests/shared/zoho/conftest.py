from collections.abc import AsyncIterator

import asyncpg
import pytest
from pydantic import SecretStr

from shared.storage import pool as storage
from shared.storage.migrations import migrate


@pytest.fixture
async def ledger_pool(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    async with storage.connect(SecretStr(database_url), size=10) as pool:
        await migrate(pool, schema="billing")
        yield pool
