"""Back up the database of a running system, and restore it as an operator does."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from deploy.local import postgres
from deploy.local.stack import Stack
from services.zoho_sandbox.driver import Json
from tests.chaos.operator_command import zoho_relay

WORKERS = ("billing-worker", "crm-worker", "desk-worker")
_SCHEMAS = ("billing", "crm", "desk")
_PATIENCE_S = 200.0


class Backup:
    """A `pg_dump` of the system's database, made while it works, and the time of it."""

    def __init__(self, stack: Stack, file: Path) -> None:
        self._stack = stack
        self._file = file
        self.made_at = datetime.now(UTC)

    async def make(self) -> None:
        self.made_at = datetime.now(UTC)
        await self._run("pg_dump", "-Fc", "-f", str(self._file), self._stack.env["DATABASE_URL"])

    async def restore(self) -> None:
        """Replace the database. Whoever is connected to it loses it."""
        database = urlsplit(self._stack.env["DATABASE_URL"])
        name, owner = database.path.lstrip("/"), database.username
        admin = await asyncpg.connect(self._stack.env["POSTGRES_URL"])
        try:
            await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
            await admin.execute(f'CREATE DATABASE "{name}" OWNER "{owner}"')
        finally:
            await admin.close()
        await self._run("pg_restore", "--exit-on-error", "-d", database.geturl(), str(self._file))

    async def _run(self, program: str, *arguments: str) -> None:
        path = str(postgres.binaries() / program)
        process = await asyncio.create_subprocess_exec(path, *arguments)
        assert await process.wait() == 0, f"{program} failed"


async def recovery_of(stack: Stack) -> Json:
    """What `zoho-relay recover status` knows."""
    shown = await zoho_relay(stack, "recover", "status", "--json")
    assert shown.code == 0, shown.err
    status: Json = json.loads(shown.out)
    return status


async def stop_workers(stack: Stack) -> None:
    await asyncio.gather(*(asyncio.to_thread(stack.stop_process, one) for one in WORKERS))


async def start_workers(stack: Stack) -> None:
    await asyncio.gather(*(asyncio.to_thread(stack.start_process, one) for one in WORKERS))


def let_workers_start(stack: Stack, workers: Sequence[str] = WORKERS) -> None:
    """Start them without waiting until they are ready."""
    for one in workers:
        (stack.folder / "stopped" / f"{one}.1").unlink(missing_ok=True)


async def until_ready(stack: Stack) -> None:
    await asyncio.gather(*(asyncio.to_thread(stack.wait_ready, one) for one in WORKERS))


@asynccontextmanager
async def database(stack: Stack) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(stack.env["DATABASE_URL"])
    try:
        yield connection
    finally:
        await connection.close()


async def until_accepted(stack: Stack, message_ids: Sequence[str]) -> None:
    """Return once each of these commands was accepted by some service."""
    tables = " UNION ".join(f"SELECT message_id FROM {s}.accepted_ids" for s in _SCHEMAS)  # noqa: S608
    query = f"SELECT count(*) FROM ({tables}) a WHERE message_id = ANY ($1::text[])"  # noqa: S608
    await _until(stack, query, list(message_ids), wanted=len(set(message_ids)))


async def until_settled(stack: Stack, message_ids: Sequence[str]) -> None:
    """Return once each of these commands was accepted, and none of them is open."""
    await until_accepted(stack, message_ids)
    columns = "message_id, routing_key, state, wait, code, attempt"
    tables = " UNION ALL ".join(f"SELECT {columns} FROM {s}.inbox" for s in _SCHEMAS)  # noqa: S608
    ours = f"FROM ({tables}) i WHERE message_id = ANY ($1::text[])"
    try:
        await _until(stack, f"SELECT count(*) {ours}", list(message_ids), wanted=0)
    except TimeoutError:
        async with database(stack) as connection:
            left = await connection.fetch(f"SELECT * {ours}", list(message_ids))
        raise AssertionError(f"these are open still: {left}") from None


async def given_up(stack: Stack) -> Counter[tuple[str, str]]:
    """Count the dead letters that wait, by routing key and code."""
    async with database(stack) as connection:
        rows = await connection.fetch(
            " UNION ALL ".join(
                f"SELECT routing_key, code FROM {s}.dead_letters WHERE state = 'waiting'"  # noqa: S608
                for s in _SCHEMAS
            )
        )
    return Counter((row["routing_key"], row["code"]) for row in rows)


async def _until(stack: Stack, query: str, *arguments: object, wanted: int) -> None:
    async with database(stack) as connection, asyncio.timeout(_PATIENCE_S):
        while await connection.fetchval(query, *arguments) != wanted:  # noqa: ASYNC110 - a table
            await asyncio.sleep(0.1)


def copy_of_broker(stack: Stack, place: Path) -> None:
    """Copy the data of the stopped broker."""
    shutil.copytree(stack.env["RABBITMQ_DATA"], place, symlinks=True)


def replace_broker(stack: Stack, copy: Path | None) -> None:
    """Put a copy in place of the stopped broker's data. None: empty it."""
    data = Path(stack.env["RABBITMQ_DATA"])
    shutil.rmtree(data)
    if copy is None:
        data.mkdir()
    else:
        shutil.copytree(copy, data, symlinks=True)
