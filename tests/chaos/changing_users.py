"""Let reads of users become stale, and stay so for as long as a test wants."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Final

from deploy.local.stack import Stack
from tests.chaos.open_messages import database_of

# Who takes the revision that it has read finds it taken.
_SET_UP: Final = """
    CREATE SCHEMA chaos;
    CREATE TABLE chaos.changing (user_id text PRIMARY KEY);

    CREATE FUNCTION chaos.changed_meanwhile() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        IF EXISTS (SELECT FROM chaos.changing c WHERE c.user_id = OLD.user_id) THEN
            RETURN NULL;
        END IF;
        RETURN NEW;
    END $$;

    CREATE TRIGGER changed_meanwhile BEFORE UPDATE OF revision ON billing.users
    FOR EACH ROW EXECUTE FUNCTION chaos.changed_meanwhile();
"""


class ChangingUsers:
    """The users who change between each read of them and the commit of what was decided on it."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    async def only(self, user_ids: Collection[str]) -> None:
        """From now on these change, and no others."""
        async with database_of(self._stack) as database, database.transaction():
            await database.execute("DELETE FROM chaos.changing")
            await database.executemany(
                "INSERT INTO chaos.changing VALUES ($1)", [(user_id,) for user_id in user_ids]
            )


@asynccontextmanager
async def changing_users(stack: Stack, user_ids: Collection[str]) -> AsyncIterator[ChangingUsers]:
    """They change, through all restarts of PostgreSQL, for as long as the context is entered."""
    async with database_of(stack) as database:
        await database.execute(_SET_UP)
    try:
        changing = ChangingUsers(stack)
        await changing.only(user_ids)
        yield changing
    finally:
        async with database_of(stack) as database:
            await database.execute("DROP TRIGGER changed_meanwhile ON billing.users")
            await database.execute("DROP SCHEMA chaos CASCADE")
