"""Test the private PostgreSQL: its data survives a stop and a crash, and it asks for passwords."""

from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from deploy.local.stack import Stack
from tests.local_stack.conftest import StackOf


@pytest.fixture
def postgres(stack_of: StackOf) -> Stack:
    stack = stack_of(services={}, database_url=None)
    stack.start()
    return stack


async def test_its_data_outlives_a_crash_and_a_stop(postgres: Stack) -> None:
    await _execute(postgres, "CREATE TABLE kept AS SELECT 42 AS answer")

    killed = postgres.kill("postgres")
    postgres.wait_ready("postgres", not_pid=killed)
    postgres.stop()
    postgres.start()

    connection = await asyncpg.connect(postgres.env["DATABASE_URL"])
    assert await connection.fetchval("SELECT answer FROM kept") == 42
    await connection.close()


def test_data_that_need_not_last_is_no_burden_after_a_stop(stack_of: StackOf) -> None:
    stack = stack_of(services={}, database_url=None, durable=False)
    stack.start()
    data = Path(stack.env["POSTGRES_DATA"])
    assert (data / "PG_VERSION").exists()

    stack.stop()

    # It lay in memory, or in the stack's folder where there is not enough of that.
    assert data.is_relative_to(stack.folder) or not data.exists()
    stack.start()


async def test_nobody_gets_in_without_the_password(postgres: Stack) -> None:
    for user in ("postgres", "relay"):
        port = urlsplit(postgres.env["DATABASE_URL"]).port
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(f"postgresql://{user}:wrong@127.0.0.1:{port}/relay")


async def test_its_log_does_not_quote_what_a_row_holds(postgres: Stack) -> None:
    await _execute(postgres, "CREATE TABLE people (email text PRIMARY KEY)")
    insert = "INSERT INTO people VALUES ('ada@example.com')"
    await _execute(postgres, insert)

    with pytest.raises(asyncpg.UniqueViolationError):
        await _execute(postgres, insert)

    log = (postgres.folder / "logs" / "postgres.1.log").read_text()
    assert "people_pkey" in log
    assert "ada@example.com" not in log


async def _execute(stack: Stack, statement: str) -> None:
    connection = await asyncpg.connect(stack.env["DATABASE_URL"])
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
