"""Try a write, because a database that answers may still be read-only or full."""

import asyncpg


async def try_write(pool: asyncpg.Pool, service: str) -> None:
    """Write one row of the service. Raises asyncpg's error when the database takes no writes."""
    await pool.execute(
        """
        INSERT INTO relay.write_probes (service, written_at) VALUES ($1, clock_timestamp())
        ON CONFLICT (service) DO UPDATE SET written_at = excluded.written_at
        """,
        service,
    )
