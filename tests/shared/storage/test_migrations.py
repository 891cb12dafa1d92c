import asyncio
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest
from pydantic import SecretStr

from shared.storage import pool as storage
from shared.storage.migrations import MigrationChanged, migrate


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "0001_things.sql").write_text(
        "CREATE TABLE {schema}.things (id int PRIMARY KEY);\nINSERT INTO {schema}.things VALUES (1)"
    )
    return tmp_path


async def test_a_service_gets_the_librarys_tables_its_template_and_its_own(
    pool: asyncpg.Pool, folder: Path
) -> None:
    await migrate(pool, schema="billing", folder=folder)

    for table in ("relay.data_keys", "billing.blind_index", "billing.things"):
        assert await pool.fetchval("SELECT to_regclass($1)", table), table


async def test_two_services_share_one_database(pool: asyncpg.Pool, folder: Path) -> None:
    await migrate(pool, schema="billing", folder=folder)
    await migrate(pool, schema="crm", folder=folder)

    assert await pool.fetchval("SELECT count(*) FROM billing.things") == 1
    assert await pool.fetchval("SELECT count(*) FROM crm.things") == 1


async def test_replicas_that_start_together_apply_each_file_once(
    database_url: str, folder: Path
) -> None:
    async def start(schema: str) -> None:
        async with storage.connect(SecretStr(database_url), size=1) as pool:
            await migrate(pool, schema=schema, folder=folder)

    await asyncio.gather(*[start(schema) for schema in ("billing", "crm") for _ in range(4)])

    async with storage.connect(SecretStr(database_url)) as pool:
        assert await pool.fetchval("SELECT count(*) FROM billing.things") == 1
        names = await pool.fetch("SELECT scope, name FROM relay.migrations")
        assert len(names) == len(set(names))


async def test_a_file_that_was_edited_after_it_was_applied_stops_the_start(
    pool: asyncpg.Pool, folder: Path
) -> None:
    await migrate(pool, schema="billing", folder=folder)
    (folder / "0001_things.sql").write_text("CREATE TABLE {schema}.things (id bigint PRIMARY KEY)")

    with pytest.raises(MigrationChanged, match="0001_things"):
        await migrate(pool, schema="billing", folder=folder)


async def test_a_file_that_fails_leaves_nothing_and_is_tried_again(
    pool: asyncpg.Pool, folder: Path
) -> None:
    second = folder / "0002_more.sql"
    second.write_text("CREATE TABLE {schema}.more (id int); SELECT 1/0")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(pool, schema="billing", folder=folder)
    assert await pool.fetchval("SELECT to_regclass('billing.more')") is None

    second.write_text("CREATE TABLE {schema}.more (id int)")
    await migrate(pool, schema="billing", folder=folder)

    assert await pool.fetchval("SELECT to_regclass('billing.more')") is not None


async def test_an_older_release_starts_beside_a_newer_one(pool: asyncpg.Pool, folder: Path) -> None:
    newer = folder / "0002_more.sql"
    newer.write_text("CREATE TABLE {schema}.more (id int)")
    await migrate(pool, schema="billing", folder=folder)

    newer.unlink()
    await migrate(pool, schema="billing", folder=folder)


async def test_what_is_up_to_date_needs_no_right_to_create(
    pool: asyncpg.Pool, database_url: str, folder: Path
) -> None:
    await migrate(pool, schema="billing", folder=folder)
    role = f"role_{uuid4().hex}"
    await pool.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
    try:
        await pool.execute(f"GRANT USAGE ON SCHEMA relay TO {role}")
        await pool.execute(f"GRANT SELECT ON relay.migrations TO {role}")
        parts = urlsplit(database_url)
        url = parts._replace(netloc=f"{role}:x@{parts.hostname}:{parts.port}").geturl()
        async with storage.connect(SecretStr(url), size=1) as limited:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await limited.execute("CREATE SCHEMA IF NOT EXISTS billing")

            await migrate(limited, schema="billing", folder=folder)
    finally:
        await pool.execute(f"DROP OWNED BY {role}")
        await pool.execute(f"DROP ROLE {role}")


@pytest.mark.parametrize("schema", ["", "Billing", "a b", "x; drop schema relay", "1st"])
async def test_a_schema_has_a_plain_name(pool: asyncpg.Pool, schema: str) -> None:
    with pytest.raises(ValueError, match="schema"):
        await migrate(pool, schema=schema)
