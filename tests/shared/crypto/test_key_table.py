"""Test that a database without its data keys is named at the start."""

import asyncpg
import pytest
from pydantic import SecretStr

from shared.crypto.envelope import DataKeys, UserKey, Vault
from shared.crypto.key_table import DataKeysLost, require_data_keys
from shared.crypto.keyring import KeyRing
from shared.storage import pool as storage
from tests.kit.fresh_keys import fresh_key


async def _add_sealed_result(pool: asyncpg.Pool, sealed: bytes) -> None:
    await pool.execute(
        """
        INSERT INTO relay.effects (org, operation, business_id, product, state, write_until,
                                   look_after, result)
        VALUES ('default', 'create_customer', 'u1', 'billing', 'done', now(), now(), $1)
        """,
        sealed,
    )


async def test_sealed_values_without_any_data_key_stop_the_start(database_url: str) -> None:
    async with storage.connect(SecretStr(database_url), size=2) as pool:
        vault = Vault(DataKeys(pool, KeyRing.parse(fresh_key("k1"))))
        await require_data_keys(pool, "billing")  # a new database has neither

        sealed = await vault.seal_bytes(UserKey("default", "u1"), b"{}", "a context")
        await _add_sealed_result(pool, sealed)
        await require_data_keys(pool, "billing")

        await pool.execute("TRUNCATE relay.data_keys")
        with pytest.raises(DataKeysLost, match="data_keys"):
            await require_data_keys(pool, "billing")
