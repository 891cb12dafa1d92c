"""No table with something of a user is forgotten by an erasure: the catalogue names them all."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

SCHEMAS = ("billing", "crm", "desk", "gateway", "token")

# Tables of services with sealed or blind values of users that name no user. Each has an end (a
# `Rule` that deletes it), which docs/erasure.md and the receipt name.
HAVE_AN_END = {
    "accepted_ids.body_mac",
    "dead_letters.body",  # by its line. Asserted below.
    "dead_letters.body_mac",
    "inbox.body",
    "inbox.body_mac",
    "outbox.body",
    "report_pages.items_sealed",
    "suspects.digest",
    "webhooks.body",
    "webhooks.event_mac",
}
# Of no user.
OF_THE_SYSTEM = {
    "access_tokens.client",
    "access_tokens.sealed",
    "access_tokens.sha256",
    "pauses.client",
    "refresh_tokens.sealed",
    "refresh_tokens.sha256",
}


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def tables_of_users(database: asyncpg.Connection, schema: str) -> set[str]:
    rows = await database.fetch(
        "SELECT c.relname FROM relay.tables_of_users($1) t JOIN pg_class c ON c.oid = t.table_id",
        schema,
    )
    return {row["relname"] for row in rows}


async def test_every_table_with_binary_values_belongs_to_users_or_has_an_end(
    database: asyncpg.Connection,
) -> None:
    columns = await database.fetch(
        """
        SELECT table_schema AS schema, table_name AS name, column_name AS column
        FROM information_schema.columns
        WHERE data_type = 'bytea' AND table_schema = ANY ($1::text[])
        """,
        SCHEMAS,
    )
    assert columns

    for column in columns:
        named = f"{column['name']}.{column['column']}"
        belongs = column["name"] in await tables_of_users(database, column["schema"])
        assert belongs or named in HAVE_AN_END | OF_THE_SYSTEM, (
            f"no erasure finds {column['schema']}.{named}: give the table `org` and `user_id`, or"
            " name the column above"
        )


async def test_no_table_of_users_takes_a_row_of_an_erased_user(
    database: asyncpg.Connection,
) -> None:
    await database.execute("INSERT INTO relay.tombstones (org, user_id) VALUES ('default', 'u1')")
    tried = 0

    for schema in SCHEMAS:
        for table in await tables_of_users(database, schema):
            with pytest.raises(asyncpg.PostgresError) as refused:
                await database.execute(
                    f"INSERT INTO {schema}.{table} (org, user_id) VALUES ('default', 'u1')"  # noqa: S608
                )
            assert refused.value.sqlstate == "ZR004", f"{schema}.{table}"
            tried += 1
    assert tried >= 8


async def rows_in(database: asyncpg.Connection, schema: str, user_id: str) -> dict[str, int]:
    return {
        table: await database.fetchval(
            f"SELECT count(*) FROM {schema}.{table} WHERE user_id = $1",  # noqa: S608
            user_id,
        )
        for table in await tables_of_users(database, schema)
    }


async def fill(database: asyncpg.Connection, schema: str, user_id: str) -> None:
    """Put one row of the user into each table, whatever its columns."""
    for table in await tables_of_users(database, schema):
        columns = await database.fetch(
            """
            SELECT attname AS name, format_type(atttypid, NULL) AS type, (
                -- The first of the values that a check allows: column IN ('open', 'closed').
                SELECT substring(pg_get_constraintdef(oid) FROM '''[^'']*''')
                FROM pg_constraint
                WHERE conrelid = attrelid AND contype = 'c' AND conkey = ARRAY[attnum]
            ) AS allowed
            FROM pg_attribute
            WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped
              AND attnotnull AND NOT atthasdef AND attname NOT IN ('org', 'user_id')
            """,
            f"{schema}.{table}",
        )
        blank = {
            "text": f"'{user_id}'",
            "bytea": "'\\x00'",
            "bigint": "1",
            "integer": "1",
            "numeric": "1",
            "boolean": "false",
            "uuid": "gen_random_uuid()",
            "date": "current_date",
            "jsonb": "'{}'",
            "timestamp with time zone": "now()",
        }
        names = ["org", "user_id", *(column["name"] for column in columns)]
        values = [
            "'default'",
            f"'{user_id}'",
            *(column["allowed"] or blank[column["type"]] for column in columns),
        ]
        await database.execute(
            f"INSERT INTO {schema}.{table} ({', '.join(names)}) VALUES ({', '.join(values)})"  # noqa: S608
        )


@pytest.mark.parametrize("schema", ["billing", "crm", "desk"])
async def test_the_rows_of_a_user_go_from_every_table_and_those_of_others_stay(
    database: asyncpg.Connection, schema: str
) -> None:
    for user_id in ("u1", "u2"):
        await fill(database, schema, user_id)
    assert set((await rows_in(database, schema, "u1")).values()) == {1}

    await database.execute("SELECT relay.erase_rows($1, 'default', 'u1')", schema)

    assert set((await rows_in(database, schema, "u1")).values()) == {0}
    assert set((await rows_in(database, schema, "u2")).values()) == {1}


@pytest.mark.parametrize("schema", ["billing", "crm", "desk"])
async def test_a_deletion_that_is_left_out_shows(database: asyncpg.Connection, schema: str) -> None:
    """Keep each table's rows from being deleted, one table at a time: it must be found out."""
    await database.execute(
        """
        CREATE FUNCTION relay.keep() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN RETURN NULL; END $$
        """
    )
    await fill(database, schema, "u1")
    for table in sorted(await tables_of_users(database, schema)):
        trial = database.transaction()
        await trial.start()
        await database.execute(
            f"CREATE TRIGGER keep BEFORE DELETE ON {schema}.{table}"
            " FOR EACH ROW EXECUTE FUNCTION relay.keep()"
        )
        await database.execute("SELECT relay.erase_rows($1, 'default', 'u1')", schema)
        left = await rows_in(database, schema, "u1")
        assert {name for name, count in left.items() if count} == {table}
        await trial.rollback()
