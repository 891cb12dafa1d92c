import asyncio
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest
from pydantic import SecretStr

from shared.storage import pool as storage
from shared.storage.migrations import MigrationChanged, migrate
from shared.storage.migrations.files import folders_of
from tests.kit.servers import new_database


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


ANSWER = (
    "CREATE OR REPLACE FUNCTION {schema}.answer(p_n int) RETURNS int LANGUAGE sql AS $$\n{}\n$$"
)


def write_answer(folder: Path, body: str, head: str = ANSWER) -> Path:
    file = folder / "functions" / "answer.sql"
    file.parent.mkdir(exist_ok=True)
    file.write_text(head.replace("{}", body))
    return file


async def test_a_function_is_made_after_the_tables_that_it_reads(
    pool: asyncpg.Pool, folder: Path
) -> None:
    write_answer(folder, "SELECT p_n + count(*)::int FROM {schema}.things")
    await migrate(pool, schema="billing", folder=folder)
    assert await pool.fetchval("SELECT billing.answer(1)") == 2


async def test_a_function_is_replaced_when_its_file_changes(
    pool: asyncpg.Pool, folder: Path
) -> None:
    write_answer(folder, "SELECT p_n + 1")
    await migrate(pool, schema="billing", folder=folder)
    identity = "SELECT 'billing.answer(int)'::regprocedure::oid"
    before = await pool.fetchval(identity)

    write_answer(folder, "SELECT p_n + 10")
    await migrate(pool, schema="billing", folder=folder)

    assert await pool.fetchval("SELECT billing.answer(1)") == 11
    assert await pool.fetchval(identity) == before


@pytest.mark.parametrize(
    ("head", "call"),
    [
        (ANSWER.replace("p_n int", "p_n int, p_more int DEFAULT 5"), "billing.answer(1)"),
        (ANSWER.replace("p_n int", "p_n text"), "billing.answer('1')"),
        (ANSWER.replace("RETURNS int", "RETURNS bigint"), "billing.answer(1)"),
        (ANSWER.replace("p_n int", "p_m int"), "billing.answer(1)"),
    ],
)
async def test_a_function_with_another_signature_takes_the_place_of_the_former(
    pool: asyncpg.Pool, folder: Path, head: str, call: str
) -> None:
    write_answer(folder, "SELECT p_n")
    await migrate(pool, schema="billing", folder=folder)

    write_answer(folder, "SELECT 7", head)
    await migrate(pool, schema="billing", folder=folder)

    assert await pool.fetchval(f"SELECT {call}") == 7
    assert await pool.fetchval("SELECT count(*) FROM pg_proc WHERE proname = 'answer'") == 1


async def test_an_older_release_leaves_the_functions_of_a_newer_one_alone(
    pool: asyncpg.Pool, folder: Path
) -> None:
    write_answer(folder, "SELECT 11")
    await migrate(pool, schema="billing", folder=folder, release="0.11.0")

    write_answer(folder, "SELECT 9")
    await migrate(pool, schema="billing", folder=folder, release="0.9.0")
    assert await pool.fetchval("SELECT billing.answer(1)") == 11

    await migrate(pool, schema="billing", folder=folder, release="0.12.0")
    assert await pool.fetchval("SELECT billing.answer(1)") == 9


async def test_functions_change_together_or_not_at_all(pool: asyncpg.Pool, folder: Path) -> None:
    file = write_answer(folder, "SELECT 1")
    await migrate(pool, schema="billing", folder=folder)
    write_answer(folder, "SELECT 2")
    broken = file.with_name("broken.sql")
    broken.write_text("CREATE OR REPLACE FUNCTION {schema}.broken() RETURNS int LANGUAGE nothing")

    with pytest.raises(asyncpg.PostgresError):
        await migrate(pool, schema="billing", folder=folder)
    assert await pool.fetchval("SELECT billing.answer(1)") == 1

    broken.unlink()
    await migrate(pool, schema="billing", folder=folder)
    assert await pool.fetchval("SELECT billing.answer(1)") == 2


async def test_a_file_creates_the_function_that_it_is_named_after(
    pool: asyncpg.Pool, folder: Path
) -> None:
    file = write_answer(folder, "SELECT 1")
    file.rename(file.with_name("question.sql"))
    with pytest.raises(ValueError, match=r"question"):
        await migrate(pool, schema="billing", folder=folder)


async def test_every_function_that_reads_the_clock_can_be_given_the_time(
    postgres_url: str, template: str
) -> None:
    async with (
        new_database(postgres_url, template) as url,
        storage.connect(SecretStr(url), size=1) as pool,
    ):
        functions = await pool.fetch(
            """
            SELECT oid::regprocedure::text AS name, prosrc ~ 'clock_timestamp|now\\(\\)' AS reads,
                'p_now' = ANY (coalesce(proargnames, '{}')) AS is_given
            FROM pg_proc
            WHERE pronamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema')
            """
        )

    assert {row["name"].partition(".")[0] for row in functions} >= {"relay", "billing", "desk"}
    without = [row["name"] for row in functions if row["reads"] and not row["is_given"]]
    assert not without, "it needs the parameter `p_now timestamptz DEFAULT NULL`"


@pytest.mark.parametrize(
    "history",
    [
        [("relay", "0001_data_keys.sql", b"another")],
        [("relay", "0001_data_keys.sql", None), ("relay", "0010_effects.sql", b"")],
        [("billing", "0001_before.sql", b"")],
    ],
)
async def test_a_database_of_an_earlier_version_is_named_and_left_as_it_is(
    pool: asyncpg.Pool, folder: Path, history: list[tuple[str, str, bytes | None]]
) -> None:
    await pool.execute(
        """
        CREATE SCHEMA relay;
        CREATE TABLE relay.migrations (
            scope text, name text, checksum bytea, applied_at timestamptz DEFAULT now(),
            PRIMARY KEY (scope, name))
        """
    )
    present = {
        file.key: file.checksum for folder in folders_of("x", None) for file in folder.migrations
    }
    await pool.executemany(
        "INSERT INTO relay.migrations (scope, name, checksum) VALUES ($1, $2, $3)",
        [
            (of, name, present[of, name] if digest is None else digest)
            for of, name, digest in history
        ],
    )

    with pytest.raises(MigrationChanged, match=r"make down.*\.run/.*down --volumes"):
        await migrate(pool, schema="billing", folder=folder)

    assert await pool.fetchval("SELECT to_regclass('relay.data_keys') IS NULL")
    assert await pool.fetchval("SELECT to_regnamespace('billing') IS NULL")
