"""Measure a lease, reservation included, at 200,000 waiting messages that are refilled."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import asdict
from statistics import median, quantiles
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr

from shared.storage.migrations import migrate
from shared.storage.pool import connect
from tests.bench.figures import Figure, Figures
from tests.bench.leasers import Leasing
from tests.kit.servers import new_database

pytestmark = pytest.mark.bench

SECONDS = float(os.environ.get("BENCH_LEASE_S", "60"))
LEASERS, P99_MS = 3, 20.0
GROWTH = 1.1

# 10,000 messages of one user at the front, whose first waits for an hour. 50,000 of others
# wait for a day. Every second message is of a product that is closed.
_FILL = """
    INSERT INTO bench.inbox
        (arrived, place, org, line, exchange, routing_key, route, message_id, body_mac, priority,
         due_at, headers, body, accepted_at)
    SELECT g, g * 1024, 'default', 'user:' || CASE WHEN g <= 10000 THEN 'hot' ELSE g::text END,
           'zoho.commands', r.key, r.key, 'm-' || g, decode(md5(g::text) || md5(g::text), 'hex'), 1,
           now() + CASE WHEN g > 10000 AND g <= 60000 THEN interval '1 day'
                        WHEN g = 1 THEN interval '1 hour' ELSE interval '0' END,
           '{}', decode(repeat(md5(g::text), 12), 'hex'), now()
    FROM generate_series(1, 200000) g,
         LATERAL (SELECT CASE WHEN g % 2 = 0 THEN 'a.v1' ELSE 'b.v1' END AS key) r;
    SELECT setval('bench.arrivals', 200000);
    INSERT INTO bench.lines (org, line, state, head, head_place, head_route, priority, due_at)
    SELECT DISTINCT ON (org, line) org, line, CASE WHEN due_at > now() THEN 'later' ELSE 'due' END,
           arrived, place, route, priority, due_at
    FROM bench.inbox ORDER BY org, line, place;
"""
_SIZES = """
    SELECT pg_total_relation_size('bench.inbox') AS open,
           pg_total_relation_size('bench.lines') AS lines,
           pg_total_relation_size('relay.reservations') AS reservations
"""


@pytest.fixture
async def database_url(durable_postgres_url: str) -> AsyncIterator[str]:
    async with new_database(durable_postgres_url) as url:
        async with connect(SecretStr(url), size=1, command_timeout_s=300) as pool:
            await migrate(pool, schema="bench")
            await pool.execute(_FILL)
            await pool.execute("VACUUM ANALYZE")
        yield url


async def test_a_lease_at_200_000_waiting_takes_20_ms_at_most(
    database_url: str, figures: Figures
) -> None:
    admin = await asyncpg.connect(database_url)
    leasing = [
        asyncio.create_task(_lease(Leasing(database_url, SECONDS, f"leaser-{at}")))
        for at in range(LEASERS)
    ]
    # The tables' ends come and go with each vacuum, so a moment says little.
    await asyncio.sleep(SECONDS / 4)
    early = await _sizes(admin, SECONDS / 4)
    await asyncio.sleep(SECONDS / 4)
    late = await _sizes(admin, SECONDS / 4)
    seen = await asyncio.gather(*leasing)
    await admin.close()
    leases_ms = sorted(ms for one in seen for ms in one["leases_ms"])
    p99 = quantiles(leases_ms, n=100)[98]
    settled = sum(one["settled"] for one in seen)
    figures.show(
        f"lease of 64 at 200,000, {LEASERS} leasers: p50 {median(leases_ms):.1f} ms, p99 {p99:.1f}"
        f" ms, longest {leases_ms[-1]:.0f} ms; {settled:,} messages, {settled / SECONDS:.0f}/s"
    )
    for name in ("open", "lines", "reservations"):
        figures.add(
            Figure(
                f"lease, {name}: last quarter over second",
                late[name] / early[name],
                "times",
                at_most=GROWTH,
                # Vacuum comes once a minute, so a short run says little of it.
                warn_only=SECONDS < 600,
            )
        )
    figures.add(Figure("lease at 200,000, p99", p99, "ms", at_most=P99_MS))


async def _sizes(admin: asyncpg.Connection, seconds: float) -> dict[str, float]:
    """The bytes of each table with its indexes: the median of a look each second."""
    looks = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        [row] = await admin.fetch(_SIZES)
        looks.append(row)
        await asyncio.sleep(1)
    return {
        name: median(look[name] for look in looks) for name in ("open", "lines", "reservations")
    }


async def _lease(leasing: Leasing) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.bench.leasers",
        json.dumps(asdict(leasing)),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    result: dict[str, Any] = json.loads(output)
    return result
