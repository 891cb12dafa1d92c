import asyncio
import time
from collections.abc import AsyncIterator

import asyncpg
import pytest
from pydantic import SecretStr

from shared.crypto.envelope import DataKeys, Vault
from shared.crypto.keyring import KeyRing, fresh_key
from shared.storage import pool as storage
from shared.storage.migrations import migrate
from tests.shared.zoho.effects_world import World

_QUARTER_S, _ENOUGH_S = 900.0, 15.0


@pytest.fixture
async def ledger_pool(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    async with storage.connect(SecretStr(database_url), size=10) as pool:
        await migrate(pool, schema="billing")
        yield pool


@pytest.fixture
def noted_before_going_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a release notes is in the ledger when it returns, however slow the machine is."""
    monkeypatch.setattr("shared.zoho.quota.quota._RELEASE_WITHIN_S", 60.0)


@pytest.fixture
async def within_a_quarter_of_an_hour() -> None:
    """Credits are booked by quarters of the wall clock's hour, and days begin with one of them."""
    left_s = _QUARTER_S - time.time() % _QUARTER_S
    if left_s < _ENOUGH_S:
        await asyncio.sleep(left_s + 0.1)


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    async with storage.connect(SecretStr(database_url), size=8) as pool:
        await migrate(pool, schema="billing")
        yield World(pool, Vault(DataKeys(pool, KeyRing.parse(fresh_key("k1")))))
