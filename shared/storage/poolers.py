"""Recognize a pooler that gives each transaction another session, such as pgbouncer can."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final

import asyncpg

_TRIES: Final = 3
_ANSWERED_WITHIN_S: Final = 2.0
# By the simple protocol, because a pooler can tear a prepared statement apart.
_EXPECT_PID = """
    DO $$ BEGIN
        IF pg_backend_pid() <> {pid} THEN
            RAISE EXCEPTION 'another session' USING ERRCODE = 'ZR002';
        END IF;
    END $$
"""
_MARK = "SELECT set_config('zoho_relay.probe', 'set', false)"
_EXPECT_MARK = """
    DO $$ BEGIN
        IF current_setting('zoho_relay.probe', true) IS DISTINCT FROM 'set' THEN
            RAISE EXCEPTION 'another session' USING ERRCODE = 'ZR002';
        END IF;
    END $$
"""

Connect = Callable[[], Awaitable[asyncpg.Connection]]


async def shares_sessions(connect: Connect) -> bool:
    """Return whether consecutive transactions of a connection may run in different sessions.

    Then prepared statements, advisory locks and settings are lost between them.
    """
    async with AsyncExitStack() as stack:
        first = await _opened(stack, connect)
        try:
            await first.execute(_EXPECT_PID.replace("{pid}", str(first.get_server_pid())))
        except asyncpg.PostgresError:
            pass  # a pooler, which invents the ids that it gives to clients
        else:
            return False
        second = await _opened(stack, connect)
        # A pooler hands out the session that came back last. Hold it, and ask for it again.
        for _ in range(_TRIES):
            await first.execute(_MARK)
            try:
                async with second.transaction():
                    await second.execute("SELECT 1")
                    await first.execute(_EXPECT_MARK, timeout=_ANSWERED_WITHIN_S)
            except (TimeoutError, asyncpg.PostgresError):
                return True
    return False


async def _opened(stack: AsyncExitStack, connect: Connect) -> asyncpg.Connection:
    connection = await connect()
    stack.callback(connection.terminate)
    return connection
