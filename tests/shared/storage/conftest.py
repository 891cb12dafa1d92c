from collections.abc import AsyncIterator

import asyncpg
import pytest
from pydantic import SecretStr

from shared.storage import pool as storage


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    async with storage.connect(SecretStr(database_url), size=10) as pool:
        yield pool


@pytest.fixture
def database_url(empty_database_url: str) -> str:
    """These tests migrate it themselves."""
    return empty_database_url
