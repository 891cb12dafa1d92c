"""Find which services have their tables in this database."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

import asyncpg

# In this order they are shown. Names are constants of ours: they become part of statements.
SCHEMAS: Final = MappingProxyType(
    {
        "webhook-gateway": "gateway",
        "billing-worker": "billing",
        "crm-worker": "crm",
        "desk-worker": "desk",
    }
)


async def migrated(pool: asyncpg.Pool) -> dict[str, str]:
    """Return service → schema for every service whose outbox exists."""
    present = await pool.fetchval(
        """
        SELECT array_agg(table_schema::text) FROM information_schema.tables
        WHERE table_name = 'outbox' AND table_schema = ANY ($1::text[])
        """,
        list(SCHEMAS.values()),
    )
    return {service: schema for service, schema in SCHEMAS.items() if schema in (present or [])}


async def with_inbox(pool: asyncpg.Pool) -> dict[str, str]:
    """Return service → schema for every migrated service that accepts messages."""
    # The gateway stores webhooks and passes them on. It has an outbox and no inbox.
    return {name: schema for name, schema in (await migrated(pool)).items() if schema != "gateway"}
