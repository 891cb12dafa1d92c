"""Create a schema's functions from their files, and replace those whose files changed."""

from __future__ import annotations

from pathlib import PurePosixPath

import asyncpg

from shared.storage.migrations.files import SqlFile
from shared.storage.pool import PooledConnection


async def replace_function(connection: PooledConnection, schema: str, file: SqlFile) -> None:
    """Run a file that creates one function, named as the file. Call it inside a transaction.

    `CREATE OR REPLACE` keeps the function's identity, so that sessions that are calling it go on.
    It cannot change a signature: other argument types make a second function beside the first, and
    another result is refused. In both cases the former function is dropped.

    Raises:
        ValueError: the file does not create exactly one function of its name.
    """
    name = PurePosixPath(file.name).stem
    former = await _overloads(connection, schema, name)
    try:
        async with connection.transaction():
            await connection.execute(file.sql)
    except asyncpg.InvalidFunctionDefinitionError:
        await _drop(connection, former)
        await connection.execute(file.sql)
    else:
        if await _overloads(connection, schema, name) != former:
            await _drop(connection, former)
    if len(await _overloads(connection, schema, name)) != 1:
        raise ValueError(f"{file.scope}/{file.name} must create one function {schema}.{name}")


async def _overloads(connection: PooledConnection, schema: str, name: str) -> list[str]:
    """The signatures of the functions of this name, as `DROP FUNCTION` takes them."""
    rows = await connection.fetch(
        """
        SELECT p.oid::regprocedure::text AS signature FROM pg_proc p
        WHERE p.pronamespace = $1::text::regnamespace AND p.proname = $2
        """,
        schema,
        name,
    )
    return sorted(row["signature"] for row in rows)


async def _drop(connection: PooledConnection, signatures: list[str]) -> None:
    for signature in signatures:
        await connection.execute(f"DROP FUNCTION {signature}")
