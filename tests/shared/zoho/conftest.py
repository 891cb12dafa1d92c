from collections.abc import AsyncIterator

import asyncpg
import pytest
from pydantic import SecretStr

from shared.crypto.envelope import DataKeys, Vault
from shared.crypto.keyring import KeyRing
from shared.storage import pool as storage
from shared.storage.migrations import migrate
from tests.kit.fresh_keys import fresh_key
from tests.shared.zoho.effects_world import World
from tests.shared.zoho.moved_clock import MovedClock


@pytest.fixture
async def ledger_pool(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    async with storage.connect(SecretStr(database_url), size=10) as pool:
        await migrate(pool, schema="billing")
        yield pool


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    async with storage.connect(SecretStr(database_url), size=8) as pool:
        await migrate(pool, schema="billing")
        yield World(pool, Vault(DataKeys(pool, KeyRing.parse(fresh_key("k1")))))
