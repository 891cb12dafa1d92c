"""Sessions that went bad are replaced, and a silent server holds nobody for long."""

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import asyncpg
import pytest
from pydantic import SecretStr

from shared.errors import Unavailable
from shared.storage import pool as storage
from shared.storage.migrations import migrate
from shared.storage.pool import unavailable_when_down
from shared.storage.write_probe import try_write
from tests.kit.proxy import proxy_to

# Much less than the driver waits for a server that acknowledges nothing.
_SOON_S = 20.0


async def set_read_only(postgres_url: str, database_url: str, value: str) -> None:
    """For new sessions of the database, as a managed service does when its disk is full."""
    name = urlsplit(database_url).path[1:]
    admin = await asyncpg.connect(postgres_url)
    await admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = {value}")
    await admin.close()


async def test_sessions_that_began_read_only_are_replaced_once_the_database_writes_again(
    database_url: str, postgres_url: str
) -> None:
    await set_read_only(postgres_url, database_url, "on")
    async with storage.connect(SecretStr(database_url), size=4) as pool:
        await asyncio.gather(*[pool.fetchval("SELECT pg_sleep(0.05)") for _ in range(4)])
        with pytest.raises(Unavailable), unavailable_when_down():
            await pool.execute("CREATE TABLE t (id int)")

        await set_read_only(postgres_url, database_url, "off")

        async with asyncio.timeout(_SOON_S):
            while True:
                if await wrote(pool):
                    break
                await asyncio.sleep(0.05)
        # Not one session is left that cannot write.
        await asyncio.gather(*[pool.execute("INSERT INTO t VALUES (1)") for _ in range(8)])


async def wrote(pool: asyncpg.Pool) -> bool:
    try:
        await pool.execute("CREATE TABLE t (id int)")
    except asyncpg.ReadOnlySQLTransactionError:
        return False
    return True


async def test_a_check_of_readiness_notices_a_database_that_takes_no_writes(
    pool: asyncpg.Pool, database_url: str, postgres_url: str
) -> None:
    await migrate(pool, schema="billing")
    await try_write(pool, "billing-worker")

    await set_read_only(postgres_url, database_url, "on")

    async with storage.connect(SecretStr(database_url), size=1) as read_only:
        assert await read_only.fetchval("SELECT 1") == 1
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await try_write(read_only, "billing-worker")


async def one_statement(pool: asyncpg.Pool) -> None:
    await pool.fetchval("SELECT 1")


async def one_transaction(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await connection.fetchval("SELECT 1")


@pytest.mark.parametrize("use", [one_statement, one_transaction])
async def test_a_silent_server_holds_a_caller_no_longer_than_its_timeout(
    database_url: str, use: Callable[[asyncpg.Pool], Awaitable[None]]
) -> None:
    async with (
        proxy_to(database_url) as proxy,
        storage.connect(SecretStr(proxy.url()), size=1, command_timeout_s=600) as pool,
    ):
        await use(pool)
        proxy.freeze()

        async with asyncio.timeout(_SOON_S):
            for _ in range(2):  # the second finds no session, and cannot open one
                with pytest.raises(Unavailable), unavailable_when_down():
                    async with asyncio.timeout(0.2):
                        await use(pool)

        proxy.thaw()
        await use(pool)


async def test_locks_of_a_process_that_stands_still_are_freed(pool: asyncpg.Pool) -> None:
    await pool.execute("CREATE TABLE t (id int); INSERT INTO t VALUES (1)")

    async def stand_still_in_mid_transaction() -> None:
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("SET LOCAL idle_in_transaction_session_timeout = '100ms'")
            await connection.execute("SELECT FROM t FOR UPDATE")
            await pool.execute("SELECT FROM t FOR UPDATE")  # another waits for the lock
            await connection.execute("DELETE FROM t")

    with pytest.raises(Unavailable), unavailable_when_down():
        await stand_still_in_mid_transaction()

    assert await pool.fetchval("SELECT count(*) FROM t") == 1


async def test_every_session_of_a_service_bounds_its_idle_transactions(pool: asyncpg.Pool) -> None:
    assert await pool.fetchval("SHOW idle_in_transaction_session_timeout") == "5s"
