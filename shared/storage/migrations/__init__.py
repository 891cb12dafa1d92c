"""Plain SQL files, applied once.

`relay/` is the library's schema; `service/` is a template, applied to each service's schema in
place of `{schema}`; a service's own folder comes last. Files are applied in the order of their
names, each in one transaction, and remembered with a checksum.

Migrations only add: two neighbouring versions run at once, so what the previous release still reads
goes one release later, and an applied file is never edited. `CREATE INDEX CONCURRENTLY` cannot run
inside a transaction and so has no place here.
"""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import asyncpg

from shared.errors import IntegrationError

_HERE = Path(__file__).parent
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,30}")
_LOCK = 0x7A6F686F  # one for all services: they share the library's schema
# A replica may wait for another that is at work on a large table; the pool's own limit is for
# statements that serve messages.
_PATIENCE_S = 600.0


class MigrationChanged(IntegrationError):
    """A file that was applied is not what it was: its change would reach no existing database."""

    code = "migration_changed"


class _Migration(NamedTuple):
    scope: str
    name: str
    checksum: bytes
    sql: str


async def migrate(pool: asyncpg.Pool, *, schema: str, folder: Path | None = None) -> None:
    """Bring the library's schema and the service's `schema` up to date.

    Safe when replicas of several services start together: one works, the others wait and find
    nothing to do. What is up to date needs no right to create anything. Files that are applied but
    not here (a newer version runs beside this one) are left alone.

    Args:
        folder: the service's own files, `{schema}` substituted there too.
    Raises:
        MigrationChanged: an applied file was edited.
        ValueError: `schema` is not a plain lower-case name.
    """
    if not _SCHEMA.fullmatch(schema):
        raise ValueError(f"not a schema's name: {schema!r}")
    migrations = list(_migrations(schema, folder))
    async with pool.acquire() as connection:
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK, timeout=_PATIENCE_S)
        try:
            await _apply(connection, migrations, schemas=("relay", schema))
        finally:
            if not connection.is_closed():  # a lost connection has lost its lock already
                await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)


async def _apply(
    connection: asyncpg.pool.PoolConnectionProxy,
    migrations: list[_Migration],
    schemas: tuple[str, ...],
) -> None:
    await _create_missing(connection, schemas)
    applied = {
        (row["scope"], row["name"]): row["checksum"]
        for row in await connection.fetch("SELECT scope, name, checksum FROM relay.migrations")
    }
    for migration in migrations:
        before = applied.get((migration.scope, migration.name))
        if before is None:
            await _apply_one(connection, migration)
        elif before != migration.checksum:
            raise MigrationChanged(
                f"migration {migration.scope}/{migration.name} was edited after it was applied;"
                " restore it and put the change into a new file"
            )


async def _apply_one(connection: asyncpg.pool.PoolConnectionProxy, migration: _Migration) -> None:
    async with connection.transaction():
        await connection.execute(migration.sql, timeout=_PATIENCE_S)
        await connection.execute(
            "INSERT INTO relay.migrations (scope, name, checksum) VALUES ($1, $2, $3)",
            migration.scope,
            migration.name,
            migration.checksum,
        )


async def _create_missing(
    connection: asyncpg.pool.PoolConnectionProxy, schemas: tuple[str, ...]
) -> None:
    for schema in schemas:
        # Asked first: IF NOT EXISTS demands the right to create even when there is nothing to do.
        if await connection.fetchval("SELECT to_regnamespace($1) IS NULL", schema):
            await connection.execute(f"CREATE SCHEMA {schema}")
    if await connection.fetchval("SELECT to_regclass('relay.migrations') IS NULL"):
        await connection.execute(
            """
            CREATE TABLE relay.migrations (
                scope text NOT NULL,
                name text NOT NULL,
                checksum bytea NOT NULL,
                applied_at timestamptz NOT NULL DEFAULT now(),
                PRIMARY KEY (scope, name)
            )
            """
        )


def _migrations(schema: str, folder: Path | None) -> Iterator[_Migration]:
    yield from _read("relay", _HERE / "relay", schema)
    yield from _read(f"{schema}/service", _HERE / "service", schema)
    if folder is not None:
        yield from _read(schema, folder, schema)


def _read(scope: str, folder: Path, schema: str) -> Iterator[_Migration]:
    for file in sorted(folder.glob("*.sql")):
        text = file.read_text(encoding="utf-8")
        # Line endings are the checkout's business.
        checksum = hashlib.sha256("\n".join(text.splitlines()).encode()).digest()
        yield _Migration(scope, file.name, checksum, text.replace("{schema}", schema))
