import asyncio
import socket
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from pydantic import SecretStr

from shared.errors import Unavailable
from shared.storage import pool as storage
from shared.storage.migrations import migrate
from shared.storage.pool import unavailable_when_down


async def test_json_comes_back_as_it_went_in(pool: asyncpg.Pool) -> None:
    value = {"amount": 12.5, "names": ["José", None]}

    assert await pool.fetchval("SELECT $1::jsonb", value) == value


async def test_the_driver_asks_about_no_type_of_ours_during_work(
    pool: asyncpg.Pool, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It knows the arrays of all functions, but rows' addresses, which no process passes."""
    await migrate(pool, schema="test")
    types = await pool.fetch(
        """
        SELECT DISTINCT format_type(t.oid, NULL) FROM pg_proc p
        CROSS JOIN unnest(coalesce(p.proallargtypes, p.proargtypes)) AS used (oid)
        JOIN pg_type t ON t.oid = used.oid
        WHERE p.pronamespace IN ('test'::regnamespace, 'relay'::regnamespace)
          AND t.typcategory = 'A' AND t.oid <> 'tid[]'::regtype
        """
    )
    asked = []
    introspect = asyncpg.Connection._introspect_types

    async def noted(*arguments: Any) -> object:
        asked.append(arguments)
        return await introspect(*arguments)

    monkeypatch.setattr(asyncpg.Connection, "_introspect_types", noted)
    async with storage.connect(SecretStr(database_url), size=1) as fresh:
        assert asked
        asked.clear()
        for (type_,) in types:
            await fresh.fetch(f"SELECT NULL::{type_}")
    assert len(types) > 5
    assert asked == []


async def test_the_pool_outlives_the_connections_that_a_restart_breaks(
    pool: asyncpg.Pool, postgres_url: str
) -> None:
    await asyncio.gather(*[pool.fetchval("SELECT pg_sleep(0.01)") for _ in range(10)])

    restart = await asyncpg.connect(postgres_url)
    database = await pool.fetchval("SELECT current_database()")
    await restart.fetch(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", database
    )
    await restart.close()

    async def ask() -> int:
        # The first answer on a broken connection is an error. It never stays one.
        while True:
            with suppress(Unavailable), unavailable_when_down():
                return int(await pool.fetchval("SELECT 1"))
            await asyncio.sleep(0)

    assert await asyncio.gather(*[ask() for _ in range(20)]) == [1] * 20


async def test_a_transaction_that_was_left_open_does_not_leak_into_the_next_use(
    database_url: str,
) -> None:
    async with storage.connect(SecretStr(database_url), size=1) as pool:
        connection = await pool.acquire()
        await connection.execute("CREATE TABLE t (id int)")
        await connection.execute("BEGIN")
        await connection.execute("INSERT INTO t VALUES (1)")
        await pool.release(connection)

        assert await pool.fetchval("SELECT count(*) FROM t") == 0


async def test_a_database_that_does_not_answer_is_unavailable() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        dsn = SecretStr(f"postgresql://nobody:secret@127.0.0.1:{bound.getsockname()[1]}/x")
        with pytest.raises(Unavailable) as caught:
            async with storage.connect(dsn, opened_within_s=0):
                pass

    assert caught.value.code == "database_unavailable"
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("change", [{"password": "wrong"}, {"user": "nobody"}, {"path": "/none"}])
async def test_a_start_that_is_not_let_in_says_what_to_look_at(
    database_url: str, change: dict[str, str]
) -> None:
    parts = urlsplit(database_url)
    user, password = change.get("user", parts.username), change.get("password", parts.password)
    host = f"{user}:{password}@{parts.hostname}:{parts.port}"
    dsn = parts._replace(netloc=host, path=change.get("path", parts.path)).geturl()

    with pytest.raises(Unavailable, match="see DATABASE_URL") as caught:
        async with storage.connect(SecretStr(dsn)):
            pass

    assert caught.value.code == "database_refused"
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize("away", ["WITH ALLOW_CONNECTIONS false", "RENAME TO {}_away"])
async def test_a_service_that_is_no_longer_let_in_waits_for_it(
    database_url: str, postgres_url: str, away: str
) -> None:
    name = urlsplit(database_url).path.lstrip("/")
    admin = await asyncpg.connect(postgres_url)
    async with storage.connect(SecretStr(database_url), size=1) as pool:
        await admin.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")
        await admin.fetch(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1", name
        )
        await admin.execute(f"ALTER DATABASE {name} {away.format(name)}")
        try:
            for _ in range(2):  # the first finds the broken connection, the second a closed door
                with pytest.raises(Unavailable), unavailable_when_down():
                    await pool.fetchval("SELECT 1")
        finally:
            if "RENAME" in away:
                await admin.execute(f"ALTER DATABASE {name}_away RENAME TO {name}")
            await admin.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true")
            await admin.close()

        assert await pool.fetchval("SELECT 1") == 1


async def test_a_start_waits_for_a_database_that_comes_up_later(database_url: str) -> None:
    """The port is silent at first, and leads to PostgreSQL later."""
    target = urlsplit(database_url)

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection(target.hostname, target.port)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                sink.write(data)
            sink.close()

        await asyncio.gather(pump(reader, to_writer), pump(to_reader, writer))

    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))  # and refuses until it listens
    port = bound.getsockname()[1]
    netloc = f"{target.username}:{target.password}@127.0.0.1:{port}"
    dsn = SecretStr(target._replace(netloc=netloc).geturl())

    async def start() -> int:
        async with storage.connect(dsn, size=1, opened_within_s=30) as pool:
            return int(await pool.fetchval("SELECT 1"))

    starting = asyncio.create_task(start())
    await asyncio.wait([starting], timeout=0.3)
    assert not starting.done()
    async with await asyncio.start_server(forward, sock=bound):
        assert await starting == 1


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        TimeoutError(),
        asyncpg.CannotConnectNowError("starting up"),
        asyncpg.AdminShutdownError("terminating"),
        asyncpg.ConnectionDoesNotExistError("closed in the middle of operation"),
        asyncpg.InvalidPasswordError("password authentication failed"),
        asyncpg.TooManyConnectionsError("sorry, too many clients already"),
        asyncpg.DeadlockDetectedError("deadlock"),
        asyncpg.InterfaceError("cannot call Connection.fetch(): connection is closed"),
    ],
)
def test_what_passes_by_itself_is_unavailable(error: Exception) -> None:
    with pytest.raises(Unavailable), unavailable_when_down():
        raise error


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.UniqueViolationError("duplicate"),
        asyncpg.UndefinedTableError("no such table"),
        asyncpg.InterfaceError("another operation is in progress"),
        asyncpg.DataError("invalid input: clos"),
        KeyError("clos"),
    ],
)
def test_what_is_our_mistake_stays_what_it_is(error: Exception) -> None:
    with pytest.raises(type(error)), unavailable_when_down():
        raise error
