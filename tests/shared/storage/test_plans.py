"""Tables whose rows come and go are read by their indexes, whatever the statistics say.

Their statistics are seldom collected, and a scan of the table or a bitmap looks again and again at
rows that are gone, until vacuum comes. An index scan looks at each once, and marks it.
"""

from __future__ import annotations

import re

import asyncpg

from shared.storage.migrations import migrate

SCHEMA = "service"
COME_AND_GO = re.compile(rf"\b({SCHEMA}\.(inbox|lines)|relay\.(reservations|permits))\s")
BY_INDEX = {"enable_seqscan=off", "enable_bitmapscan=off"}


async def test_functions_read_what_comes_and_goes_by_its_indexes(pool: asyncpg.Pool) -> None:
    await migrate(pool, schema=SCHEMA)

    functions = await pool.fetch(
        """
        SELECT p.oid::regproc::text AS name, p.prosrc AS source, p.proconfig AS settings
        FROM pg_proc p WHERE p.pronamespace IN ($1::text::regnamespace, 'relay'::regnamespace)
        """,
        SCHEMA,
    )

    readers = [function for function in functions if COME_AND_GO.search(function["source"])]
    assert len(readers) > 20
    assert [
        reader["name"] for reader in readers if not BY_INDEX.issubset(reader["settings"] or ())
    ] == []
