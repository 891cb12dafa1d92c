"""Look at the messages that a worker has accepted and not settled yet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg

from deploy.local.stack import Stack


@asynccontextmanager
async def database_of(stack: Stack) -> AsyncIterator[asyncpg.Connection]:
    """A connection that may change what the services may not."""
    name = urlsplit(stack.env["DATABASE_URL"]).path
    connection = await asyncpg.connect(
        urlsplit(stack.env["POSTGRES_URL"])._replace(path=name).geturl()
    )
    try:
        yield connection
    finally:
        await connection.close()


async def all_wait(
    stack: Stack,
    schema: str,
    message_ids: Collection[str],
    code: str,
    *,
    again: bool = False,
    timeout_s: float = 120.0,
) -> None:
    """Return once each of them waits for time under this code; `again`: has waited so already.

    Raises TimeoutError.
    """
    waiting = f"""
        SELECT count(*) FROM {schema}.inbox
        WHERE message_id = ANY ($1) AND wait = 'time' AND code = $2 AND (counted_s > 0 OR NOT $3)
    """  # noqa: S608
    async with database_of(stack) as database, asyncio.timeout(timeout_s):
        while await database.fetchval(waiting, message_ids, code, again) < len(message_ids):  # noqa: ASYNC110
            await asyncio.sleep(0.2)


async def all_settled(
    stack: Stack, schema: str, message_ids: Collection[str], *, timeout_s: float = 240.0
) -> None:
    """Return once each of them was accepted and is not open any more. Raises TimeoutError."""
    settled = f"""
        SELECT count(*) FROM {schema}.accepted_ids a
        WHERE a.message_id = ANY ($1)
          AND NOT EXISTS (SELECT FROM {schema}.inbox m WHERE m.message_id = a.message_id)
    """  # noqa: S608
    async with database_of(stack) as database, asyncio.timeout(timeout_s):
        while await database.fetchval(settled, message_ids) < len(message_ids):  # noqa: ASYNC110
            await asyncio.sleep(0.2)
