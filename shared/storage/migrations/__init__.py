"""Apply the SQL files that make the schemas: tables once, functions again when they change.

A table whose rows belong to users has the columns `org` and `user_id`. Erasures find it by these:
it gets a trigger that refuses rows of erased users, and a user's rows are deleted from it.

There are three folders of SQL, applied in this order:

- `relay/` beside this file: the schema `relay`, which all services share.
- `service/` beside this file: the tables that each service has in a schema of its own. The text is
  a template, in which the schema's name replaces `{schema}`.
- `services/<name>/migrations/`: the tables of one service only.

The migrations of a folder are applied in the order of their names, each in one transaction. Each is
recorded with its checksum.

A function has a file of its own in `functions/` beside the migrations, named as the function. It is
created after the migrations of its folder, and replaced when its file changes. A function that
needs the time has a last parameter `p_now`. Without it, or with NULL, the time is PostgreSQL's own.
Tests pass a time that they move.

During a rollout two neighbouring releases run at once. So a migration only adds. What the previous
release still reads is dropped one release later. A function keeps accepting the calls of the
previous release: a new parameter comes last and has a default. A migration that was applied is
never edited. `CREATE INDEX CONCURRENTLY` cannot run in a transaction, so it cannot be used here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import asyncpg

from shared.errors import CannotStart
from shared.storage.migrations.files import SqlFile, SqlFolder, folders_of
from shared.storage.migrations.functions import replace_function
from shared.storage.pool import PooledConnection
from shared.version import VERSION

_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,30}")
_LOCK = 0x7A6F686F  # one for all services, because they share the schema `relay`
# A replica may wait for another that is changing a large table. The pool's own timeout is too short
# for that: it is meant for statements that serve messages.
_TIMEOUT_S = 600.0
_ADVICE = (
    "data of an earlier version is not upgraded. With `make up`: run `make down`, then remove the"
    " folder .run/. With containers: `docker compose down --volumes`. Elsewhere: give DATABASE_URL"
    " an empty database, or run the version that made this one"
)


class MigrationChanged(CannotStart):
    """The database was made from migrations that this version does not continue.

    It may only have those of this version, of an earlier release, or of a later one. Applying the
    rest to anything else would leave it half-migrated.
    """

    code = "migration_changed"


class _Applied(NamedTuple):
    checksum: bytes
    release: str


async def migrate(
    pool: asyncpg.Pool, *, schema: str, folder: Path | None = None, release: str | None = None
) -> None:
    """Bring the schema `relay` and the service's `schema` up to date.

    Replicas of several services may start together: one applies the files, the others wait and find
    nothing to do. A database that is up to date needs no right to create anything. When a newer
    release runs beside this one, its migrations and its text of a function stay as they are.

    Args:
        folder: the service's own SQL files. `{schema}` is replaced there too.
        release: the version that applies the files. Only tests pass another than this program's.
    Raises:
        MigrationChanged: the database was made from other files.
        ValueError: `schema` is not a plain lower-case name.
    """
    if not _SCHEMA.fullmatch(schema):
        raise ValueError(f"not a schema's name: {schema!r}")
    folders = list(folders_of(schema, folder))
    async with pool.acquire() as connection:
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK, timeout=_TIMEOUT_S)
        try:
            await _apply(connection, folders, release or VERSION)
        finally:
            if not connection.is_closed():  # a lost connection has lost its lock already
                await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)


async def _apply(connection: PooledConnection, folders: list[SqlFolder], release: str) -> None:
    applied = await _applied(connection)
    for folder in folders:
        _check_history(folder, applied)
    await _create_missing(connection, {folder.schema for folder in folders})
    for folder in folders:
        for migration in folder.migrations:
            if migration.key not in applied:
                async with connection.transaction():
                    await connection.execute(migration.sql, timeout=_TIMEOUT_S)
                    await _remember(connection, migration, release)
        changed = [file for file in folder.functions if _is_due(file, applied, release)]
        async with connection.transaction():  # functions call each other: they change together
            for file in changed:
                await replace_function(connection, folder.schema, file)
                await _remember(connection, file, release)
    await _guard_users(connection, {folder.schema for folder in folders})


async def _guard_users(connection: PooledConnection, schemas: set[str]) -> None:
    """See to it that every table with a `user_id` refuses rows of users who were erased."""
    for schema in sorted(schemas):
        async with connection.transaction():
            await connection.execute("SELECT relay.guard_users($1)", schema)


def _check_history(folder: SqlFolder, applied: dict[tuple[str, str], _Applied]) -> None:
    for migration in folder.migrations:
        if migration.key in applied and applied[migration.key].checksum != migration.checksum:
            raise MigrationChanged(
                f"this database was made with another {folder.name}/{migration.name}: {_ADVICE}"
            )
    ours = {migration.name for migration in folder.migrations}
    others = [
        name
        for scope, name in sorted(applied)
        if scope == folder.name and name not in ours and "/" not in name
    ]
    # Others may be a newer release's. It has then applied all of ours before its own.
    if others and any(migration.key not in applied for migration in folder.migrations):
        raise MigrationChanged(
            f"this database was made with {folder.name}/{others[0]}, which this version does not"
            f" have: {_ADVICE}"
        )


def _is_due(file: SqlFile, applied: dict[tuple[str, str], _Applied], release: str) -> bool:
    former = applied.get(file.key)
    if former is None:
        return True
    return former.checksum != file.checksum and _numbers(former.release) <= _numbers(release)


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", release)[:3])


async def _applied(
    connection: PooledConnection,
) -> dict[tuple[str, str], _Applied]:
    if await connection.fetchval("SELECT to_regclass('relay.migrations') IS NULL"):
        return {}
    # As JSON, because the table of the first versions has no column `release`.
    rows = await connection.fetch(
        "SELECT scope, name, checksum, to_jsonb(m) ->> 'release' AS release FROM relay.migrations m"
    )
    return {
        (row["scope"], row["name"]): _Applied(row["checksum"], row["release"] or "") for row in rows
    }


async def _remember(connection: PooledConnection, file: SqlFile, release: str) -> None:
    await connection.execute(
        """
        INSERT INTO relay.migrations (scope, name, checksum, release) VALUES ($1, $2, $3, $4)
        ON CONFLICT (scope, name) DO UPDATE
        SET checksum = excluded.checksum, release = excluded.release, applied_at = now()
        """,
        file.scope,
        file.name,
        file.checksum,
        release,
    )


async def _create_missing(connection: PooledConnection, schemas: set[str]) -> None:
    for schema in sorted({"relay", *schemas}):
        # Looked up first, because IF NOT EXISTS needs the right to create even when it exists.
        if await connection.fetchval("SELECT to_regnamespace($1) IS NULL", schema):
            await connection.execute(f"CREATE SCHEMA {schema}")
    if await connection.fetchval("SELECT to_regclass('relay.migrations') IS NULL"):
        await connection.execute(
            """
            CREATE TABLE relay.migrations (
                scope text NOT NULL,
                name text NOT NULL,                 -- functions/<name>.sql for a function
                checksum bytea NOT NULL,
                release text NOT NULL,              -- the version that applied it last
                applied_at timestamptz NOT NULL DEFAULT now(),
                PRIMARY KEY (scope, name)
            )
            """
        )
