"""Apply the SQL files that make the schemas: tables once, functions again when they change.

`relay/` is the library's schema. `service/` is a template, applied to each service's schema in
place of `{schema}`. A service's own folder comes last. The migrations of a folder are applied in
the order of their names, each in one transaction, and remembered with a checksum.

A function has a file of its own in `functions/` beside the migrations, named as the function. It is
created after the migrations of its folder, and replaced when its file changes. A function that
reads the clock takes it as its last parameter `p_now`. Without it, or with NULL, PostgreSQL's own
clock counts. Tests pass one, and so move time.

Migrations only add: two neighbouring versions run at once, so what the previous release still reads
goes one release later, and an applied migration is never edited. A function keeps accepting the
calls of the previous release: a new parameter comes last and has a default.
`CREATE INDEX CONCURRENTLY` cannot run inside a transaction and so has no place here.
"""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import asyncpg

from shared.errors import CannotStart
from shared.storage.migrations.files import SqlFile, SqlFolder, scopes_of
from shared.storage.migrations.functions import replace_function
from shared.storage.pool import PooledConnection

_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,30}")
_LOCK = 0x7A6F686F  # one for all services: they share the library's schema
# A replica may wait for another that is changing a large table. The pool's own limit is for
# statements that serve messages.
_LONGEST_S = 600.0
_WHAT_TO_DO = (
    "data of an earlier version is not upgraded. With `make up`: run `make down`, then remove the"
    " folder .run/. With containers: `docker compose down --volumes`. Elsewhere: give DATABASE_URL"
    " an empty database, or run the version that made this one"
)


class MigrationChanged(CannotStart):
    """The database's migrations are not those of this version, nor the beginning of a later one's.

    Applying the rest would leave it half-migrated.
    """

    code = "migration_changed"


class _Applied(NamedTuple):
    checksum: bytes
    release: str


async def migrate(
    pool: asyncpg.Pool, *, schema: str, folder: Path | None = None, release: str | None = None
) -> None:
    """Bring the library's schema and the service's `schema` up to date.

    Safe when replicas of several services start together: one works, the others wait and find
    nothing to do. What is up to date needs no right to create anything. What a newer release has
    applied (it runs beside this one) is left alone: its migrations, and its text of a function.

    Args:
        folder: the service's own files, `{schema}` substituted there too.
        release: the version that applies them. Only tests name another than this program's.
    Raises:
        MigrationChanged: the database was made from other files.
        ValueError: `schema` is not a plain lower-case name.
    """
    if not _SCHEMA.fullmatch(schema):
        raise ValueError(f"not a schema's name: {schema!r}")
    scopes = list(scopes_of(schema, folder))
    async with pool.acquire() as connection:
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK, timeout=_LONGEST_S)
        try:
            await _apply(connection, scopes, release or version("zoho-relay"))
        finally:
            if not connection.is_closed():  # a lost connection has lost its lock already
                await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)


async def _apply(connection: PooledConnection, scopes: list[SqlFolder], release: str) -> None:
    applied = await _applied(connection)
    for scope in scopes:
        _check_history(scope, applied)
    await _create_missing(connection, {scope.schema for scope in scopes})
    for scope in scopes:
        for migration in scope.migrations:
            if migration.key not in applied:
                async with connection.transaction():
                    await connection.execute(migration.sql, timeout=_LONGEST_S)
                    await _remember(connection, migration, release)
        changed = [file for file in scope.functions if _is_due(file, applied, release)]
        async with connection.transaction():  # functions call each other: they change together
            for file in changed:
                await replace_function(connection, scope.schema, file)
                await _remember(connection, file, release)


def _check_history(scope: SqlFolder, applied: dict[tuple[str, str], _Applied]) -> None:
    for migration in scope.migrations:
        if migration.key in applied and applied[migration.key].checksum != migration.checksum:
            raise MigrationChanged(
                f"this database was made with another {scope.name}/{migration.name}: {_WHAT_TO_DO}"
            )
    ours = {migration.name for migration in scope.migrations}
    others = [
        name
        for of, name in sorted(applied)
        if of == scope.name and name not in ours and "/" not in name
    ]
    # A newer release has applied all of ours before its own.
    if others and any(migration.key not in applied for migration in scope.migrations):
        raise MigrationChanged(
            f"this database was made with {scope.name}/{others[0]}, which this version does not"
            f" have: {_WHAT_TO_DO}"
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
        # Asked first: IF NOT EXISTS demands the right to create even when there is nothing to do.
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
