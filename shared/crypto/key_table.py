"""Refuse a database whose data keys are gone: what is sealed in it can never be opened again."""

from __future__ import annotations

import asyncpg

from shared.errors import CannotStart


class DataKeysLost(CannotStart):
    """`relay.data_keys` is empty, and sealed values are there: a restore without that table.

    New keys would be made in silence, and what the lost ones sealed would fail one by one.
    """

    code = "data_keys_lost"


async def require_data_keys(pool: asyncpg.Pool, schema: str) -> None:
    """Raise DataKeysLost when the service of this schema has sealed values and no data key."""
    lost: bool = await pool.fetchval(
        f"""
        SELECT NOT EXISTS (SELECT FROM relay.data_keys)
           AND (EXISTS (SELECT FROM relay.effects WHERE result IS NOT NULL)
                OR EXISTS (SELECT FROM {schema}.inbox)
                OR EXISTS (SELECT FROM {schema}.outbox)
                OR EXISTS (SELECT FROM {schema}.dead_letters WHERE body IS NOT NULL))
        """  # noqa: S608 - a constant
    )
    if lost:
        raise DataKeysLost(
            "relay.data_keys is empty, but sealed values are there: restore that table from the"
            " same backup as the rest"
        )
