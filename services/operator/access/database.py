"""Open the database for one command."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from services.operator.settings import DatabaseSettings
from shared.storage import pool as storage


@asynccontextmanager
async def open_database() -> AsyncIterator[asyncpg.Pool]:
    """Connect to DATABASE_URL. A command gives up after 5 s, because a person waits for it.

    Raises:
        SettingsError: DATABASE_URL is missing or malformed.
        Unavailable: PostgreSQL does not answer, or refuses the role.
    """
    async with storage.connect(
        DatabaseSettings.load().database_url, size=2, application="zoho-relay", opened_within_s=5
    ) as pool:
        yield pool
